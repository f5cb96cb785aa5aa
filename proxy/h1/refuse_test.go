package h1

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"nearcast/proxy/message"
)

func TestAMalformedRequestIsAnsweredAndEndsTheConnection(t *testing.T) {
	for _, c := range []struct {
		in     string
		status int
		reason string
	}{
		{"GET / HTTP/1.1\r\n\r\n", 400, "no host"},
		{"GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n", 400, "bare LF"},
		{"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, "length and transfer-encoding"},
		{"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nContent-Length: 4\r\n\r\n1234", 400, "two lengths"},
		{"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n", 501, "unknown transfer-encoding"},
		{"GET /" + strings.Repeat("a", 20<<10) + " HTTP/1.1\r\nHost: a\r\n\r\n", 414, "request line too long"},
		{"GET / HTTP/1.1\r\nHost: a\r\nX: " + strings.Repeat("a", 40<<10) + "\r\n\r\n", 431, "header section too large"},
		{"GET / HTTP/3.0\r\nHost: a\r\n\r\n", 505, "unknown version"},
		{"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", 501, "method CONNECT"},
		{"PUT /x?y HTTP/1.1\r\nHost: a\r\nExpect: something\r\nContent-Length: 1\r\n\r\n", 417, "unknown expectation"},
		{"\x16\x03\x01\x02", 400, "malformed method"},
	} {
		synctest.Test(t, func(t *testing.T) {
			m := newMemory()
			x := serve(t.Context(), New(m, Config{MaxHeader: 32 << 10}))
			go func() { _, _ = io.WriteString(x, c.in+"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n") }()
			resp, err := http.ReadResponse(x.br, nil)
			if err != nil {
				t.Fatalf("%.60q: %v", c.in, err)
			}
			body, _ := io.ReadAll(resp.Body)
			if resp.StatusCode != c.status || !resp.Close || string(body) != c.reason+"\n" || resp.Header.Get("Date") == "" {
				t.Errorf("%.60q: status %d, close %t, %q", c.in, resp.StatusCode, resp.Close, body)
			}
			if n, _ := io.Copy(io.Discard, x.br); n > 0 {
				t.Errorf("%.60q: %d bytes behind the answer", c.in, n)
			}
			<-x.done
			if len(m.refused) != 1 || m.refused[0].Status != c.status || m.refused[0].Reason != c.reason || m.refused[0].Protocol != message.HTTP1 || !slices.Contains(Reasons, c.reason) {
				t.Errorf("%.60q: the handler was told %+v", c.in, m.refused)
			}
			if r := m.refused[0]; strings.HasPrefix(c.in, "PUT") && (r.Method != "PUT" || r.Target != "/x?y" || r.Authority != "a") {
				t.Errorf("of the request the handler was told %+v", r)
			}
		})
	}
}

func TestARefusalComesBehindTheAnswersBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := serve(t.Context(), New(newMemory(), Config{}))
		go func() {
			_, _ = io.WriteString(x, "GET /5 HTTP/1.1\r\nHost: a\r\n\r\nHEAD / HTTP/1.1\r\nHost: a b\r\n\r\n")
		}()
		for _, want := range []int{200, 400} {
			method := map[int]string{200: "GET", 400: "HEAD"}[want]
			resp, err := http.ReadResponse(x.br, &http.Request{Method: method})
			if err != nil || resp.StatusCode != want {
				t.Fatalf("%v, %v", resp, err)
			}
			_, _ = io.Copy(io.Discard, resp.Body)
		}
		if n, _ := io.Copy(io.Discard, x.br); n > 0 {
			t.Errorf("a refused HEAD has a body of %d bytes", n)
		}
		<-x.done
	})
}

// TestNothingIsSmuggled: whatever is wrong with the framing of a request, what comes after it is never served.
func TestNothingIsSmuggled(t *testing.T) {
	const hidden = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
	for _, head := range []string{
		"Content-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
		"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
		"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
		"Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n",
		"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
		"Content-Length: 0\r\nContent-Length: 36\r\n\r\n",
		"Content-Length: 0, 36\r\n\r\n",
		"Content-Length: 0 \t0\r\n\r\n",
		"Content-Length\x00: 0\r\n\r\n",
		"X: y\rContent-Length: 36\r\n\r\n",
		"X: y\nContent-Length: 36\r\n\r\n",
		"Transfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 5\r\n\r\n",
		"Transfer-Encoding: chunked\r\n\r\n0 \r\n\r\n",
		"Transfer-Encoding: chunked\r\n\r\n0;\r\n\r\n",
		"Transfer-Encoding: chunked\r\n\r\n0\n\r\n",
		"Transfer-Encoding: chunked\r\n\r\n0\r\n\n",
		"Transfer-Encoding: chunked\r\n\r\n+0\r\n\r\n",
		"Transfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n",
		"Transfer-Encoding: chunked\r\n\r\nX00\n\x00\x01",
	} {
		synctest.Test(t, func(t *testing.T) {
			served := 0
			h := handlerFunc(func(ctx context.Context, w message.ResponseWriter, r *message.Request) {
				if r.Target.Path == "/smuggled" {
					t.Errorf("%q: what is behind it was served", head)
				}
				served++
				if r.Body != nil {
					if _, err := io.Copy(io.Discard, r.Body); err == nil {
						t.Errorf("%q: the body was read without an error", head)
					}
				}
				short(ctx, w, r)
			})
			x := serve(t.Context(), New(h, Config{}))
			go func() { _, _ = io.WriteString(x, "POST / HTTP/1.1\r\nHost: a\r\n"+head+hidden+hidden) }()
			resp, err := http.ReadResponse(x.br, nil)
			if err != nil || !resp.Close || served == 0 && resp.StatusCode < 400 {
				t.Errorf("%q: %v, %v", head, resp, err)
			}
			_, _ = io.Copy(io.Discard, x.br)
			<-x.done
		})
	}
}

func TestASlowHeaderSectionIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		x := serve(t.Context(), New(m, Config{HeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute}))
		x.roundTrip(t, "GET /1 HTTP/1.1\r\nHost: a\r\n\r\n")
		time.Sleep(50 * time.Second)
		begin := time.Now()
		go func() {
			for {
				if _, err := x.Write([]byte("X")); err != nil {
					return
				}
				time.Sleep(300 * time.Millisecond)
			}
		}()
		resp, err := http.ReadResponse(x.br, nil)
		if err != nil || resp.StatusCode != 408 || !resp.Close || time.Since(begin) != 10*time.Second {
			t.Errorf("%v, %v after %v", resp, err, time.Since(begin))
		}
		<-x.done
		if took := time.Since(begin); took > 11*time.Second {
			t.Errorf("the connection ended after %v", took)
		}
		x.Close()
		time.Sleep(time.Second)
		if len(m.refused) != 1 || m.refused[0].Reason != reasonSlow {
			t.Errorf("refused %v", m.refused)
		}
	})
}

func TestEmptyLinesAreNoRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		x := serve(t.Context(), New(m, Config{HeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute}))
		x.roundTrip(t, "\r\n\r\nGET /1 HTTP/1.1\r\nHost: a\r\n\r\n")
		_, _ = io.WriteString(x, "\r\n")
		if n, _ := io.Copy(io.Discard, x.br); n > 0 || len(m.refused) > 0 {
			t.Errorf("%d bytes, refused %v", n, m.refused)
		}
		<-x.done
	})
}

// TestAnAnswerIsNotLostToAReset: a client that goes on sending gets to read why it was refused, over a real socket.
func TestAnAnswerIsNotLostToAReset(t *testing.T) {
	client, server := tcpPair(t)
	done := make(chan struct{})
	go func() {
		defer close(done)
		New(short, Config{}).ServeConn(t.Context(), server, testInfo)
	}()
	_, _ = io.WriteString(client, "GET / HTTP/1.1\r\n\r\n"+strings.Repeat("more ", 10_000))
	_ = client.CloseWrite()
	all, err := io.ReadAll(client)
	if err != nil || !strings.HasSuffix(string(all), "no host\n") {
		t.Errorf("%q, %v", all, err)
	}
	client.Close()
	<-done
}

func TestReasonsAreListedOnce(t *testing.T) {
	if len(Reasons) < 30 || len(slices.Compact(slices.Clone(Reasons))) != len(Reasons) || !slices.Contains(Reasons, reasonSlow) {
		t.Error(fmt.Sprint(Reasons))
	}
}

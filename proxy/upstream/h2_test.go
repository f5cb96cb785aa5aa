package upstream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"nearcast/proxy/message"
)

//lint:file-ignore SA1019 as in h2pool.go

var discardLog = log.New(io.Discard, "", 0)

// cleartext is an origin that speaks HTTP/2 with prior knowledge, and nothing else.
func cleartext(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var p http.Protocols
	p.SetUnencryptedHTTP2(true)
	s := &http.Server{Handler: h, Protocols: &p, ErrorLog: discardLog}
	go s.Serve(l)
	t.Cleanup(func() { s.Close() })
	return "h2c://" + l.Addr().String()
}

func TestHTTP2CarriesAllOfAnExchange(t *testing.T) {
	url := cleartext(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Te") != "trailers" || r.Host != "shop.example" || r.RequestURI != "//x//y?q=%zz&r=a%7Cb" || r.Header.Get("Connection") != "" {
			t.Errorf("got %s of %q, %v", r.RequestURI, r.Host, r.Header)
		}
		w.Header().Set("Link", "</s.css>")
		w.WriteHeader(http.StatusEarlyHints)
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		w.Header().Set(http.TrailerPrefix+"Grpc-Status", "42")
		w.Header().Set("X-One", "1")
		w.Write(b)
	})
	o := originOf(t, url, quick)
	for _, length := range []int64{5, -1} {
		r := get("//x//y?q=%zz&r=a|b")
		r.Method, r.ContentLength = "POST", length
		r.Trailers = func() message.Fields {
			return message.Fields{{Name: "x-client-sum", Value: "42"}, {Name: "x-forwarded-for", Value: "evil"}}
		}
		hints := ""
		res, body, err := fetch(t.Context(), o, &Attempt{
			Request: r, Body: strings.NewReader("hello"),
			Fields:        message.Fields{{Name: "content-type", Value: "application/grpc+proto"}, {Name: "connection", Value: "x"}},
			Informational: func(status int, f message.Fields) { hints += fmt.Sprint(status, f) },
		})
		if err != nil || body != "hello" || res.Fields.Get("x-one") != "1" || res.Protocol != message.HTTP2 {
			t.Fatalf("%q, %v", body, err)
		}
		if g := res.Trailers().Get("grpc-status"); g != "42" {
			t.Errorf("trailers %v", res.Trailers())
		}
		if hints != "103 [{link </s.css>}]" {
			t.Errorf("hints %q", hints)
		}
	}
	if o.inFlight.Load() != 0 {
		t.Errorf("%d in flight", o.inFlight.Load())
	}
}

func TestRequestsShareAnHTTP2Connection(t *testing.T) {
	var peers sync.Map
	url := cleartext(t, func(w http.ResponseWriter, r *http.Request) {
		peers.Store(r.RemoteAddr, true)
		time.Sleep(time.Millisecond)
	})
	cfg := quick
	cfg.MaxConnections = 50
	var dialed atomic.Int32
	cfg.Events.Dialed = func() { dialed.Add(1) }
	o := originOf(t, url, cfg)
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			if _, _, err := fetch(t.Context(), o, &Attempt{Request: get("/")}); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	n := 0
	peers.Range(func(any, any) bool { n++; return true })
	if n != 1 || dialed.Load() != 1 {
		t.Errorf("%d connections, %d dialed", n, dialed.Load())
	}
	first, err := o.RoundTrip(t.Context(), &Attempt{Request: get("/")})
	if err != nil {
		t.Fatal(err)
	}
	o.Close()
	if _, err := io.ReadAll(first.Body); err != nil {
		t.Errorf("an exchange under way: %v", err)
	}
	first.Body.Close()
}

func TestEveryWaitOverHTTP2HasItsTimeout(t *testing.T) {
	hang := make(chan bool)
	url := cleartext(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/body" {
			io.WriteString(w, "some")
			http.NewResponseController(w).Flush()
		}
		<-hang
	})
	defer close(hang)
	cfg := quick
	cfg.ResponseTimeout, cfg.ReadTimeout = 50*time.Millisecond, 50*time.Millisecond
	o := originOf(t, url, cfg)
	_, _, err := fetch(t.Context(), o, &Attempt{Request: get("/")})
	want(t, "no answer", err, message.BlameOrigin, 504, "response timeout", false)
	_, body, err := fetch(t.Context(), o, &Attempt{Request: get("/body")})
	want(t, "half a body", err, message.BlameOrigin, 504, "read timeout", false)
	if body != "some" {
		t.Errorf("got %q", body)
	}
	post := with("POST", -1)
	_, _, err = fetch(t.Context(), o, &Attempt{Request: post, Body: strings.NewReader("x")})
	want(t, "no answer to a body", err, message.BlameOrigin, 504, "response timeout", false)

	ctx, cancel := context.WithCancel(t.Context())
	o = originOf(t, url, quick)
	body2 := newStuck("some")
	time.AfterFunc(20*time.Millisecond, cancel)
	_, _, err = fetch(ctx, o, &Attempt{Request: post, Body: body2})
	want(t, "the client leaves", err, message.BlameClient, 499, "client went away", false)
	if body2.reading {
		t.Error("the body is still read from")
	}
	if o.inFlight.Load() != 0 {
		t.Errorf("%d in flight", o.inFlight.Load())
	}
}

func TestAnEarlyAnswerOverHTTP2EndsTheBody(t *testing.T) {
	url := cleartext(t, func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(413) })
	body := newStuck("some")
	res, _, err := fetch(t.Context(), originOf(t, url, quick), &Attempt{Request: with("POST", -1), Body: body})
	if err != nil || res.Status != 413 || body.reading {
		t.Errorf("got %v, %v, still read from: %v", res, err, body.reading)
	}
}

func TestARequestThatEndsAfterTheAnswerBeganTakesNothingFromIt(t *testing.T) {
	url := cleartext(t, func(w http.ResponseWriter, r *http.Request) {
		http.NewResponseController(w).Flush()
		io.Copy(io.Discard, r.Body)
		time.Sleep(100 * time.Millisecond)
		io.WriteString(w, "ok")
	})
	cfg := quick
	cfg.ResponseTimeout = 10 * time.Millisecond // it begins with the request's end
	r, w := io.Pipe()
	res, err := originOf(t, url, cfg).RoundTrip(t.Context(), &Attempt{Request: with("POST", -1), Body: r})
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	w.Close()
	if b, err := io.ReadAll(res.Body); string(b) != "ok" || err != nil {
		t.Errorf("%q, %v", b, err)
	}
}

func TestABodyOverHTTP2ThatFailsIsTheClientsFault(t *testing.T) {
	url := cleartext(t, func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err == nil {
			t.Error("half a body passed for a whole one")
		}
	})
	own := &message.Error{Blame: message.BlameClient, Status: 413, Reason: "body too large"}
	for _, tail := range []error{own, errors.New("reset")} {
		_, _, err := fetch(t.Context(), originOf(t, url, quick), &Attempt{Request: with("POST", -1), Body: io.MultiReader(strings.NewReader("x"), errReader{tail})})
		if tail == own {
			want(t, "its own", err, message.BlameClient, 413, "body too large", false)
		} else {
			want(t, "another", err, message.BlameClient, 400, "request body cut", false)
		}
	}
}

// rawH2 is an origin that does with the frames of each of its connections what serve does.
func rawH2(t *testing.T, settings []http2.Setting, serve func(conn int, fr *http2.Framer, h *http2.MetaHeadersFrame) bool) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	tunnels := slices.ContainsFunc(settings, func(s http2.Setting) bool { return s.ID == http2.SettingEnableConnectProtocol })
	go func() {
		for n := 0; ; n++ {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				io.ReadFull(c, make([]byte, len(http2.ClientPreface)))
				fr := http2.NewFramer(c, c)
				fr.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
				fr.WriteSettings(settings...)
				for {
					f, err := fr.ReadFrame()
					if err != nil {
						return
					}
					switch f := f.(type) {
					case *http2.SettingsFrame:
						if !f.IsAck() {
							fr.WriteSettingsAck()
						}
					case *http2.MetaHeadersFrame:
						if !serve(n, fr, f) {
							return
						}
					case *http2.DataFrame:
						if !tunnels {
							continue
						}
						fr.WriteData(f.StreamID, f.StreamEnded(), bytes.ToUpper(f.Data()))
					}
				}
			}()
		}
	}()
	return "h2c://" + l.Addr().String()
}

func TestTrailersGoToAnHTTP2Origin(t *testing.T) {
	got := make(chan string, 1)
	url := rawH2(t, nil, func(_ int, fr *http2.Framer, h *http2.MetaHeadersFrame) bool {
		if len(h.PseudoFields()) > 0 {
			return true
		}
		got <- fmt.Sprint(h.Fields)
		return fr.WriteHeaders(http2.HeadersFrameParam{StreamID: h.StreamID, EndStream: true, EndHeaders: true, BlockFragment: block(":status", "200")}) == nil
	})
	for _, length := range []int64{3, -1} {
		r := with("POST", length)
		r.Trailers = func() message.Fields {
			return message.Fields{{Name: "x-sum", Value: "42"}, {Name: "x-forwarded-for", Value: "evil"}, {Name: "host", Value: "evil"}}
		}
		if _, _, err := fetch(t.Context(), originOf(t, url, quick), &Attempt{Request: r, Body: strings.NewReader("abc")}); err != nil {
			t.Fatal(err)
		}
		if g := <-got; g != `[header field "x-sum" = "42"]` {
			t.Errorf("trailers %s", g)
		}
	}
}

func block(fields ...string) []byte {
	var b bytes.Buffer
	e := hpack.NewEncoder(&b)
	for i := 0; i < len(fields); i += 2 {
		e.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	return b.Bytes()
}

func TestATunnelOverHTTP2(t *testing.T) {
	url := rawH2(t, []http2.Setting{{ID: http2.SettingEnableConnectProtocol, Val: 1}}, func(_ int, fr *http2.Framer, h *http2.MetaHeadersFrame) bool {
		got := ""
		for _, f := range h.Fields {
			got += f.Name + "=" + f.Value + " "
		}
		for _, w := range []string{":method=CONNECT ", ":protocol=websocket ", ":path=/chat ", ":scheme=http ", ":authority=shop.example ", "sec-websocket-version=13 "} {
			if !strings.Contains(got, w) {
				t.Errorf("%q lacks %q", got, w)
			}
		}
		if strings.Contains(got, "sec-websocket-key") {
			t.Errorf("%q has a key", got)
		}
		fr.WriteHeaders(http2.HeadersFrameParam{StreamID: h.StreamID, EndHeaders: true, BlockFragment: block(":status", "200", "sec-websocket-protocol", "chat")})
		return true
	})
	o := originOf(t, url, quick)
	res, err := o.RoundTrip(t.Context(), upgrade("websocket", message.Field{Name: "sec-websocket-key", Value: "dGhlIHNhbXBsZSBub25jZQ=="}, message.Field{Name: "sec-websocket-version", Value: "13"}))
	if err != nil {
		t.Fatal(err)
	}
	if res.Status != 101 || res.Tunnel == nil || res.Fields.Get("sec-websocket-accept") != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" || res.Fields.Get("sec-websocket-protocol") != "chat" {
		t.Fatalf("got %d %v", res.Status, res.Fields)
	}
	io.WriteString(res.Tunnel, "hello")
	got := make([]byte, 5)
	if _, err := io.ReadFull(res.Tunnel, got); err != nil || string(got) != "HELLO" {
		t.Errorf("read %q, %v", got, err)
	}
	res.Tunnel.CloseWrite()
	if b, err := io.ReadAll(res.Tunnel); len(b) > 0 || err != nil {
		t.Errorf("after the end: %q, %v", b, err)
	}
	res.Tunnel.Close()
	if o.inFlight.Load() != 0 {
		t.Errorf("%d in flight", o.inFlight.Load())
	}
}

func TestAnOriginThatHasNoExtendedConnect(t *testing.T) {
	url := rawH2(t, nil, func(int, *http2.Framer, *http2.MetaHeadersFrame) bool { t.Error("asked all the same"); return false })
	_, err := originOf(t, url, quick).RoundTrip(t.Context(), upgrade("websocket"))
	want(t, "no setting", err, message.BlameOrigin, 502, "upgrade not supported", true)
}

func TestStreamsThatCameToNothing(t *testing.T) {
	answer := func(fr *http2.Framer, id uint32) bool {
		return fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, EndStream: true, EndHeaders: true, BlockFragment: block(":status", "200")}) == nil
	}
	for _, c := range []struct {
		what   string
		r      *message.Request
		serve  func(n int, fr *http2.Framer, id uint32) bool
		reason string // "" for an answer
		safe   bool
	}{
		{"refused once", with("POST", 0), func(n int, fr *http2.Framer, id uint32) bool {
			if id == 1 {
				return answer(fr, id)
			}
			if id == 3 {
				return fr.WriteRSTStream(id, http2.ErrCodeRefusedStream) == nil
			}
			return answer(fr, id)
		}, "", false},
		{"goes away before it", with("POST", 0), func(n int, fr *http2.Framer, id uint32) bool {
			if n == 0 && id == 3 {
				fr.WriteGoAway(1, http2.ErrCodeNo, nil)
				return true
			}
			return answer(fr, id)
		}, "", false},
		{"closes under a GET", get("/"), func(n int, fr *http2.Framer, id uint32) bool { return (n > 0 || id == 1) && answer(fr, id) }, "", false},
		{"closes under a POST", with("POST", 0), func(n int, fr *http2.Framer, id uint32) bool { return (n > 0 || id == 1) && answer(fr, id) }, "connection closed", false},
		{"reset", get("/"), func(n int, fr *http2.Framer, id uint32) bool {
			if id == 1 {
				return answer(fr, id)
			}
			return fr.WriteRSTStream(id, http2.ErrCodeInternal) == nil
		}, "malformed response", false},
		{"101", get("/"), func(n int, fr *http2.Framer, id uint32) bool {
			if id == 1 {
				return answer(fr, id)
			}
			return fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, EndStream: true, EndHeaders: true, BlockFragment: block(":status", "101")}) == nil
		}, "malformed response", false},
	} {
		url := rawH2(t, nil, func(n int, fr *http2.Framer, h *http2.MetaHeadersFrame) bool { return c.serve(n, fr, h.StreamID) })
		o := originOf(t, url, quick)
		if _, _, err := fetch(t.Context(), o, &Attempt{Request: get("/")}); err != nil {
			t.Fatalf("%s: the first: %v", c.what, err)
		}
		_, _, err := fetch(t.Context(), o, &Attempt{Request: c.r})
		if c.reason == "" && err != nil {
			t.Errorf("%s: %v", c.what, err)
		} else if c.reason != "" {
			want(t, c.what, err, message.BlameOrigin, 502, c.reason, c.safe)
		}
		if o.inFlight.Load() != 0 {
			t.Errorf("%s: %d in flight", c.what, o.inFlight.Load())
		}
	}
}

func TestThoseWhoWaitForAConnectionShareItsFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var dials atomic.Int32
		cfg := quick
		cfg.Dial = func(context.Context, string, string) (net.Conn, error) {
			dials.Add(1)
			time.Sleep(time.Second)
			return nil, errors.New("no route")
		}
		o := originOf(t, "h2c://origin.example", cfg)
		errs := make(chan error, 4)
		try := func(ctx context.Context) { _, err := o.RoundTrip(ctx, &Attempt{Request: get("/")}); errs <- err }
		for range 3 {
			go try(t.Context())
		}
		for range 3 {
			want(t, "no route", <-errs, message.BlameOrigin, 502, "connect failed", true)
		}
		if n := dials.Load(); n != 1 {
			t.Errorf("%d attempts to connect", n)
		}

		ctx, cancel := context.WithCancel(t.Context()) // a client that leaves is nobody else's failure
		o.cfg.Dial = func(ctx context.Context, _, _ string) (net.Conn, error) {
			if dials.Add(1) == 2 {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return nil, errors.New("no route")
		}
		go try(ctx)
		synctest.Wait()
		go try(t.Context())
		synctest.Wait()
		cancel()
		got := []string{(<-errs).(*message.Error).Reason, (<-errs).(*message.Error).Reason}
		if slices.Sort(got); got[0] != "client went away" || got[1] != "connect failed" || dials.Load() != 3 {
			t.Errorf("got %q after %d attempts", got, dials.Load())
		}
	})
}

package proxy

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"math"
	"net/netip"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"nearcast/proxy/message"
)

func FuzzAppendJSON(f *testing.F) {
	for _, s := range []string{"", "plain", "\"\\\b\f\n\r\t\x00\x1f\x7f", "é\u2028\u2029\U0001f600", "\xff\xfe", "a\xc3", "\xed\xa0\x80", "<>&"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		line := append(appendJSON([]byte{'"'}, s), '"')
		var got string
		if err := json.Unmarshal(line, &got); err != nil {
			t.Fatalf("%q: %v in %s", s, err, line)
		}
		if want := strings.ToValidUTF8(validRunes(s), "\ufffd"); got != want {
			t.Fatalf("%q became %q, want %q", s, got, want)
		}
		if bytes.ContainsAny(line, "\n\r") || !utf8.Valid(line) {
			t.Fatalf("%q: not one line of UTF-8: %q", s, line)
		}
	})
}

// validRunes replaces each byte that is in no rune by U+FFFD, which strings.ToValidUTF8 does for runs of them.
func validRunes(s string) string {
	var b strings.Builder
	for _, r := range s {
		b.WriteRune(r)
	}
	return b.String()
}

func TestMillisecondsAreAsJSONHasThem(t *testing.T) {
	for _, d := range []time.Duration{0, 999, time.Microsecond, 1500 * time.Microsecond, 1010 * time.Microsecond, 2 * time.Second, time.Hour + 1001*time.Microsecond, -1500 * time.Microsecond} {
		want, _ := json.Marshal(math.Trunc(float64(d)/1e3) / 1e3)
		if got := string(appendMillis(nil, "", d)); got != string(want) {
			t.Errorf("%v: %s, want %s", d, got, want)
		}
	}
}

// full is an exchange of which every member is known.
func full() *exchange {
	r := request("GET", "/a?b=\"c\"", "user-agent", "x\xffy")
	r.TLS = &message.TLS{Version: 0x304, Resumed: true}
	r.Received = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	x := &exchange{r: r, status: 502, sent: 7, firstByte: r.Received.Add(1500 * time.Microsecond), incomplete: true, attempts: 2,
		fault: &message.Error{Blame: message.BlameOrigin, Reason: "connection closed", Err: errors.New("a \"b\"\n")}}
	x.asked = true
	x.service = &service{name: "shop", logged: `,"service":"shop"`}
	x.origin = &origin{region: "nyc", logged: `,"origin":"http://o","origin_region":"nyc"`}
	x.place.Country, x.located = "DE", true
	return x
}

func TestTheAccessLogsMembersAreAnInterface(t *testing.T) {
	var out bytes.Buffer
	o := &Options{Edge: "fra-1", Region: "fra", AccessLog: &out}
	l := newAccessLog(o)
	x := full()
	l.write(func(b []byte) []byte { return l.exchange(b, &Proxy{}, x, x.r.Received.Add(2*time.Second)) })
	want := `{"time":"2026-03-01T12:00:02Z","edge":"fra-1","region":"fra","client_ip":"203.0.113.9","protocol":"h2","method":"GET",` +
		`"scheme":"https","host":"shop.example","target":"/a?b=%22c%22","status":502,"bytes_out":7,"duration_ms":2000,"first_byte_ms":1.5,` +
		`"tls_version":"TLS 1.3","tls_resumed":true,"client_country":"DE","service":"shop","cache":"miss","cache_reason":"none",` +
		`"origin":"http://o","origin_region":"nyc","attempts":2,"blame":"origin","reason":"connection closed","error":"a \"b\"\n",` +
		`"incomplete":true,"user_agent":"x\ufffdy"}` + "\n"
	if out.String() != want {
		t.Errorf("got  %swant %s", out.String(), want)
	}
	if !json.Valid(out.Bytes()) {
		t.Error("it is no JSON")
	}
}

func TestWhatAFrontEndRefusedIsLoggedAndCounted(t *testing.T) {
	var out strings.Builder
	e := newEdge(t, map[string][]string{"fra": {deadOrigin(t)}}, func(o *Options, _ *ServiceConfig) { o.AccessLog = &out })
	info := message.ConnInfo{Client: netip.MustParseAddrPort("203.0.113.9:1"), TLS: &message.TLS{Version: 0x304}}
	e.Refused(message.Refusal{Protocol: message.HTTP1, ConnInfo: info, Status: 400, Reason: "two lengths", Method: "GET", Authority: "a\"b", Target: "/\xff"})
	e.Refused(message.Refusal{Protocol: message.HTTP2, Reason: "rapid reset"})
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 2 {
		t.Fatalf("logged %q", lines)
	}
	for i, want := range []string{
		`"client_ip":"203.0.113.9","protocol":"h1","method":"GET","scheme":"https","host":"a\"b","target":"/\ufffd","status":400,"tls_version":"TLS 1.3","tls_resumed":false,"blame":"client","reason":"two lengths"}`,
		`"client_ip":"invalid IP","protocol":"h2","scheme":"http","status":0,"blame":"client","reason":"rapid reset"}`,
	} {
		if !strings.HasSuffix(lines[i], want) || !json.Valid([]byte(lines[i])) {
			t.Errorf("got %s, want %s", lines[i], want)
		}
	}
	var text bytes.Buffer
	e.opts.Set.WritePrometheus(&text)
	for _, want := range []string{
		`nearcast_refused_requests_total{protocol="h1",reason="two lengths"} 1`, `nearcast_refused_requests_total{protocol="h2",reason="rapid reset"} 1`,
		`nearcast_requests_total{service="none",protocol="h1",code="4xx"} 1`,
	} {
		if !strings.Contains(text.String(), want+"\n") {
			t.Errorf("no %s", want)
		}
	}
}

func TestTheReasonsOfRefusalsAreBounded(t *testing.T) {
	e := newEdge(t, map[string][]string{"fra": {deadOrigin(t)}}, nil)
	for i := range 2 * maxRefusalSeries {
		e.Refused(message.Refusal{Protocol: message.HTTP1, Reason: strings.Repeat("x", i)})
	}
	var text bytes.Buffer
	e.opts.Set.WritePrometheus(&text)
	if n := strings.Count(text.String(), "nearcast_refused_requests_total{"); n > maxRefusalSeries+3 || !strings.Contains(text.String(), `reason="other"} 256`) {
		t.Errorf("%d series", n)
	}
}

func TestALogLineAllocatesNothing(t *testing.T) {
	l := newAccessLog(&Options{Edge: "fra-1", AccessLog: io.Discard})
	x, p := full(), &Proxy{}
	x.fault.Err = nil
	now := time.Now()
	if n := testing.AllocsPerRun(500, func() { l.write(func(b []byte) []byte { return l.exchange(b, p, x, now) }) }); n != 0 && !raced {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkAccessLogLine(b *testing.B) {
	l := newAccessLog(&Options{Edge: "fra-1", AccessLog: io.Discard})
	x, p := full(), &Proxy{}
	x.fault = nil
	now := time.Now()
	b.ReportAllocs()
	for b.Loop() {
		l.write(func(b []byte) []byte { return l.exchange(b, p, x, now) })
	}
}

func TestEightBytesAreLookedAtAtOnce(t *testing.T) {
	for at := range 8 {
		for c := range 256 {
			for _, around := range []string{"aaaaaaaa", "        ", "!!!!!!!!", "########", "]]]]]]]]", "\x7f\x7f\x7f\x7f\x7f\x7f\x7f\x7f"} {
				s := []byte(around)
				s[at] = byte(c)
				if got := allSafe(string(s)); got && !jsonSafe[c] || !got && jsonSafe[c] && around[0] != ' ' && c != ' ' {
					t.Errorf("%q: %v", s, got)
				}
			}
		}
	}
}

package quicload

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"
)

var epoch = time.UnixMilli(1_700_000_000_000)

func at(ms int) time.Time { return epoch.Add(time.Duration(ms) * time.Millisecond) }

const streamOutput = `I00000023 0x6bd8 frm tx 2 1RTT STREAM(0x0b) id=0x0 fin=1 offset=0 len=58 uni=0
http: stream 0x0 submit request headers
[:method: GET]
QUIC handshake has been confirmed
http: stream 0x0 response headers started
http: stream 0x0 [:status: 200]
http: stream 0x0 [via: 1.1 other, 3.0 edge-1 (nearcast)]
http: stream 0x0 headers ended
http: stream 0x0 body 2 bytes
00000000  30 0a                                             |0.|
00000002
I00000527 0x6bd8 pkt read packet 44 left 0
http: stream 0x0 body 18 bytes
00000000  31 0a 32 0a 33 0a 34 0a  35 0a 36 0a 37 0a 38 0a  |1.2.3.4.5.6.7.8.|
00000010  39 0a                                             |9.|
00000012
http: stream 0x0 body 1 bytes
00000000  31                                                |1|
00000001
`

func TestStreamParser(t *testing.T) {
	feed := func(texts ...string) *streamParser {
		p := &streamParser{last: at(0)}
		for i, text := range texts {
			for _, line := range strings.Split(text, "\n") {
				p.line(line, at(10*(i+1)))
			}
		}
		return p
	}
	p := feed(streamOutput, "http: stream 0x0 body 2 bytes\n00000000  30 0a                                             |0.|")
	if len(p.records) != 11 || len(Failed(p.records)) != 0 {
		t.Fatalf("%+v", p.records)
	}
	if want := (Record{at(0), at(10), "", "h3", "edge-1", 1}); p.records[0] != want {
		t.Errorf("first %+v", p.records[0])
	}
	if want := (Record{at(10), at(20), "", "h3", "edge-1", 1}); p.records[10] != want {
		t.Errorf("a line in two parts %+v", p.records[10])
	}
	for _, c := range []struct{ why, text, err string }{
		{"it ends without a word", "", "it ended"},
		{"it says why", "I00000527 0x6bd8 pkt read\nngtcp2_conn_read_pkt: ERR_PROTO\nSet timer=0.1s", "ERR_PROTO"},
		{"the stream is reset", "HTTP stream 0 closed with error code 258", "code 258"},
		{"a line is missing", "http: stream 0x0 body 3 bytes\n00000000  39 39 0a                    |99.|", `"199" where 10 was due`},
		{"the stream ends", "HTTP stream 0 closed with error code 256", ""},
	} {
		p := feed(streamOutput, c.text)
		p.ended(at(99))
		failed := Failed(p.records)
		if c.err == "" && len(failed) != 0 || c.err != "" && (len(failed) == 0 || !strings.Contains(failed[0].Err, c.err)) {
			t.Errorf("%s: %+v", c.why, failed)
		}
	}
	refused := feed(strings.ReplaceAll(streamOutput, "200", "503"))
	if failed := Failed(refused.records); len(failed) != 10 || failed[0].Err != "status 503" {
		t.Errorf("a refusal: %+v", failed)
	}
}

func FuzzStreamParser(f *testing.F) {
	f.Add(streamOutput)
	f.Add("http: stream 0x0 body 9999999 bytes\n00000000  zz |.|\n00000000  |\nHTTP stream 0 closed with error code 256\nx")
	f.Fuzz(func(t *testing.T, text string) {
		p := &streamParser{last: at(0)}
		for i, line := range strings.Split(text, "\n") {
			p.line(line, at(i+1))
		}
		p.ended(at(1 << 20))
		for _, r := range p.records {
			if r.End.Before(r.Start) {
				t.Errorf("%+v", r)
			}
		}
		if p.dump < 0 || len(p.partial) > maxLine {
			t.Errorf("%d to come, %d kept", p.dump, len(p.partial))
		}
	})
}

const reportText = `{"now": 1700000001000.5, "open": [{"start": 1700000000500.5}],
	"records": [{"start": 1700000000100, "end": 1700000000120.25, "via": "3.0 edge-2 (nearcast)", "protocol": "h3", "connection": 2},
		{"start": 1700000000000, "end": 1700000000010, "err": "TypeError: Failed to fetch"}]}`

func TestParseReport(t *testing.T) {
	got, err := parseReport([]byte(reportText))
	must(t, err)
	want := []Record{
		{Start: at(0), End: at(10), Err: "TypeError: Failed to fetch"},
		{at(100), at(120).Add(250 * time.Microsecond), "", "h3", "edge-2", 2},
		{Start: at(500).Add(500 * time.Microsecond), End: at(1000).Add(500 * time.Microsecond), Err: "unfinished after 500ms"},
	}
	if !reflect.DeepEqual(got, want) || !got[2].Hanging() || got[0].Hanging() {
		t.Errorf("%+v", got)
	}
	for _, bad := range []string{``, `null x`, `{"records":[{"start":2,"end":1}]}`, `{"records":[{"start":-2,"end":1}]}`, `{"now":1e300,"open":[{"start":1}]}`,
		`{"now":1,"open":[{"start":2}]}`, `{"records":[` + strings.Repeat(`{"start":1,"end":1},`, maxRequests) + `{"start":1,"end":1}]}`} {
		if got, err := parseReport([]byte(bad)); err == nil {
			t.Errorf("%.40q: %d records", bad, len(got))
		}
	}
}

func FuzzParseReport(f *testing.F) {
	f.Add([]byte(reportText))
	f.Fuzz(func(t *testing.T, data []byte) {
		records, err := parseReport(data)
		for i, r := range records {
			if err != nil || r.End.Before(r.Start) || i > 0 && r.Start.Before(records[i-1].Start) {
				t.Errorf("%+v %v", records, err)
			}
		}
	})
}

func FuzzParseTransfer(f *testing.F) {
	f.Add([]byte(`{"done":true,"took":12.5,"stall":1,"bytes":3,"err":"","protocol":"h3","via":"3.0 a","sum":"00","receipt":"{}","digest":""}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if got, err := parseTransfer(data); err == nil && (duration(got.Took) < 0 || duration(got.Stall) < 0 || got.Bytes < 0) {
			t.Errorf("%+v", got)
		}
	})
}

func TestMarionette(t *testing.T) {
	ours, theirs := net.Pipe()
	defer theirs.Close()
	go func() {
		r := bufio.NewReader(theirs)
		say := func(text string) { _, _ = theirs.Write([]byte(strconv.Itoa(len(text)) + ":" + text)) }
		say(`{"applicationType":"gecko","marionetteProtocol":3}`)
		for {
			frame, err := readFrame(r)
			if err != nil {
				return
			}
			var command []json.RawMessage
			if err := json.Unmarshal(frame, &command); err != nil || len(command) != 4 {
				return
			}
			switch string(command[2]) {
			case `"good"`:
				say(`[1,99,null,{}]`) // somebody else's
				say(`[1,` + string(command[1]) + `,null,{"value":[1,2]}]`)
			case `"bad"`:
				say(`[1,` + string(command[1]) + `,{"error":"javascript error","message":"no such thing","stacktrace":""},null]`)
			}
		}
	}()
	m, err := newMarionette(t.Context(), ours)
	must(t, err)
	var got struct{ Value []int }
	if err := m.call(t.Context(), "good", map[string]any{}, &got); err != nil || len(got.Value) != 2 {
		t.Errorf("%+v %v", got, err)
	}
	if err := m.call(t.Context(), "bad", nil, nil); err == nil || err.Error() != "bad: javascript error: no such thing" {
		t.Error(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	patience := errors.New("patience has ended")
	cancel(patience)
	if err := m.call(ctx, "silent", nil, nil); !errors.Is(err, patience) {
		t.Error(err)
	}
	must(t, m.close())
}

func FuzzMarionette(f *testing.F) {
	for _, text := range []string{`2:{}`, `16:[1,2,null,{"a":1}]`, `99999999:x`, `:`, `123456789:`, `24:[1,2,{"error":"a"},null]x`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r := bufio.NewReader(bytes.NewReader(data))
		for {
			frame, err := readFrame(r)
			if err != nil {
				return
			}
			_, _ = parseReply(frame)
		}
	})
}

const sockets = `   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
  123: 00000000:C139 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 4711 2 0000000000000000 0
  124: 00000000:C13A 0202A8C0:0035 01 00000000:00000000 00:00000000 00000000     0        0 4712 2 0000000000000000 0
`

func TestUnconnected(t *testing.T) {
	if got := unconnected([]byte(sockets)); !reflect.DeepEqual(got, []string{"4711"}) {
		t.Error(got)
	}
}

func FuzzUnconnected(f *testing.F) {
	f.Add([]byte(sockets))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, inode := range unconnected(data) {
			if _, err := strconv.ParseUint(inode, 10, 64); err != nil {
				t.Error(err)
			}
		}
	})
}

// Sockets are seen within the watch's time; a change to TCP and back counts too.
func TestNumber(t *testing.T) {
	w := socketWatch{opened: []time.Time{at(0), at(100)}}
	records := []Record{{End: at(-5), Protocol: "h3"}, {End: at(50), Protocol: "h3"}, {End: at(60), Protocol: "h2"}, {End: at(70), Protocol: "h2"},
		{End: at(65), Err: "lost"}, {End: at(110), Protocol: "h3"}}
	w.number(records)
	var got []uint64
	for _, r := range records {
		got = append(got, r.Connection)
	}
	if want := []uint64{1, 1, 2, 2, 0, 3}; !reflect.DeepEqual(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestGaps(t *testing.T) {
	ok := func(start, end int, edge string, connection uint64) Record {
		return Record{Start: at(start), End: at(end), Via: edge, Connection: connection}
	}
	records := []Record{ok(0, 10, "a", 1), ok(30, 40, "a", 1), {Start: at(50), End: at(90), Err: "lost"}, ok(60, 160, "b", 2), ok(90, 170, "b", 2),
		unfinished(Record{Start: at(150)}, at(300))}
	for _, c := range []struct {
		why   string
		after int
		want  time.Duration
	}{
		{"the end's is the longest", 0, 130 * time.Millisecond},
		{"from the middle of an outage", 200, 100 * time.Millisecond},
		{"after everything", 400, 0},
	} {
		if got := LongestGap(records, at(c.after)); got != c.want {
			t.Errorf("%s: %v, want %v", c.why, got, c.want)
		}
	}
	if got := LongestGap(records[:5], at(20)); got != 120*time.Millisecond {
		t.Errorf("between two answers: %v", got)
	}
	if got := LongestGap(nil, at(0)); got != 0 {
		t.Errorf("without records: %v", got)
	}
	if failed := Failed(records); len(failed) != 2 || failed[1].Err != "unfinished after 150ms" || !failed[1].Hanging() {
		t.Errorf("%+v", failed)
	}
	if all, later := Connections(records, at(0)), Connections(records, at(60)); all != 2 || later != 1 {
		t.Errorf("%d connections, %d later", all, later)
	}
	if slowest := Slowest(records, at(0)); slowest != 100*time.Millisecond {
		t.Errorf("slowest %v", slowest)
	}
	if edges := Edges(records); !reflect.DeepEqual(edges, []string{"a", "b"}) {
		t.Errorf("%q", edges)
	}
}

func TestVia(t *testing.T) {
	for _, c := range []struct {
		values []string
		want   string
	}{{nil, ""}, {[]string{"1.1 a"}, "a"}, {[]string{"1.1 a", "3.0 b (nearcast)"}, "b"}, {[]string{"1.1 a, 2.0 c"}, "c"}, {[]string{"tyo"}, "tyo"}} {
		if got := via(c.values); got != c.want {
			t.Errorf("%q: %q", c.values, got)
		}
	}
}

func TestTargetsThatCannotBe(t *testing.T) {
	good := Target{Host: testHost, Address: netip.MustParseAddr("192.0.2.1")}
	must(t, good.complete())
	if good.url() != "https://www.lab.example/dynamic" || good.interval().Round(time.Millisecond) != 33*time.Millisecond {
		t.Errorf("%+v", good)
	}
	for _, change := range []func(*Target){
		func(t *Target) { t.Host = "" }, func(t *Target) { t.Address = netip.Addr{} }, func(t *Target) { t.Rate = -1 },
		func(t *Target) { t.Rate = 1e6 }, func(t *Target) { t.Path = "x" },
	} {
		bad := good
		change(&bad)
		if bad.complete() == nil {
			t.Errorf("%+v", bad)
		}
	}
	for _, c := range []struct {
		d    Direction
		size int64
	}{{"sideways", 1}, {Up, 0}, {Down, 1 << 40}} {
		if checkTransfer(c.d, c.size) == nil {
			t.Errorf("%+v", c)
		}
	}
	if _, err := ByName("lynx"); err == nil || !strings.Contains(err.Error(), "firefox") {
		t.Error(err)
	}
	for _, name := range []string{"quic-go", "chromium", "firefox", "ngtcp2", "h2"} {
		if c, err := ByName(name); err != nil || c.Name() != name {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSettle(t *testing.T) {
	data, sum := payload(20)
	if len(data) != 20 {
		t.Fatalf("%d bytes", len(data))
	}
	for _, c := range []struct {
		why             string
		d               Direction
		bytes           int64
		receipt, digest string
		ok              bool
	}{
		{"a download", Down, 20, "", digestField(sum), true},
		{"a download that is not what it should be", Down, 20, "", digestField(data), false},
		{"a part of a download", Down, 19, "", digestField(sum), false},
		{"an upload that is not what it should be", Up, 20, `{"bytes":20,"sha256":"00"}`, "", false},
		{"an upload without a receipt", Up, 20, `<html>`, "", false},
	} {
		tr := Transfer{Bytes: c.bytes}
		tr.settle(c.d, 20, sum, c.receipt, c.digest)
		if c.ok != (tr.Err == "") {
			t.Errorf("%s: %+v", c.why, tr)
		}
	}
}

func TestWord(t *testing.T) {
	for major, want := range map[int]string{1: "http/1.1", 2: "h2", 3: "h3"} {
		if got := word(&http.Response{ProtoMajor: major, ProtoMinor: 1}); got != want {
			t.Errorf("%d: %s", major, got)
		}
	}
}

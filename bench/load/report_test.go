package load

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"nearcast/bench/process"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares with a file of testdata.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s:\n%s\nwant\n%s", name, got, want)
	}
}

func sampleReport() *Report {
	h := newHistogram()
	for us := int64(100); us <= 10_000; us += 100 {
		h.RecordValue(us)
	}
	r := &Result{URL: "https://127.0.0.1:8443/{size}", Protocol: HTTP2, Loop: "open", Connections: 8, Streams: 4, Rate: 1000,
		Started: time.Date(2026, 11, 28, 7, 0, 0, 0, time.UTC), Seconds: 2, Warmup: 1, OK: 100, Failed: 3, PerSecond: 50, Bytes: 204800, BytesPerS: 102400,
		Status: map[int]int64{200: 98, 304: 2, 503: 1}, Failures: map[string]*Failure{Status: {1, "status 503"}, Timeout: {2, "no answer in time"}},
		Retried: 4, Reconnects: 5, Late: 6, LateMaxMs: 7.5, Latency: newLatency(h), Histogram: h}
	u := process.Usage{Processes: 2, Threads: 9, User: 300 * time.Millisecond, System: 200 * time.Millisecond, RSS: 50 << 20, Voluntary: 150, Involuntary: 50}
	return &Report{Result: r, Server: newCost(u, r.OK, r.Seconds), Generator: newCost(u, r.OK, r.Seconds)}
}

// TestJSON holds the schema: others read it.
func TestJSON(t *testing.T) {
	b, err := json.MarshalIndent(sampleReport(), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "report.json", append(b, '\n'))
	none := sampleReport()
	none.Server = nil
	if b, _ := json.Marshal(none); !strings.Contains(string(b), `"server":null`) {
		t.Errorf("%s", b)
	}
	b, err = json.MarshalIndent(IdleResult{URL: "https://h/", Protocol: HTTP3, Connections: 10, Alive: 9, Failed: 1, Settled: 2, Before: 1000, After: 10000, PerConn: 1000}, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "idle.json", append(b, '\n'))
}

func TestTable(t *testing.T) {
	var b bytes.Buffer
	sampleReport().WriteTable(&b)
	handshakes := sampleReport()
	handshakes.Handshakes, handshakes.Loop, handshakes.Server, handshakes.Late, handshakes.Retried, handshakes.Reconnects = Full, "closed", nil, 0, 0, 0
	handshakes.Generator.CPUs = 1000
	b.WriteString("\n")
	handshakes.WriteTable(&b)
	b.WriteString("\n")
	(&IdleResult{URL: "https://h/", Protocol: HTTP3, Connections: 10, Alive: 9, Failed: 1, Settled: 2, Before: 1 << 20, After: 9 << 20, PerConn: 2000}).WriteTable(&b)
	golden(t, "table.txt", b.Bytes())
}

func TestLatencyOfNothing(t *testing.T) {
	if l := newLatency(newHistogram()); l != (Latency{}) {
		t.Errorf("%+v", l)
	}
}

func TestMeasureReadsTheServersCost(t *testing.T) {
	s := serve(t, hello)
	o := Options{URL: s.http, Requests: 20}
	r, err := Measure(t.Context(), o, process.Self())
	if err != nil || r.Server == nil || r.Server.RSS < 1<<20 || r.Server.Processes != 1 || r.Generator == nil || r.OK != 20 {
		t.Errorf("%+v, %v", r, err)
	}
	if r, err := Measure(t.Context(), o, process.Set{}); err != nil || r.Server != nil || r.Generator == nil {
		t.Errorf("without a process: %+v, %v", r, err)
	}
	n := s.count()
	if _, err := Measure(t.Context(), o, process.Set{PIDs: []int{1 << 30}}); err == nil || s.count() != n {
		t.Errorf("a process that is not there: %v, after %d requests", err, s.count()-n)
	}
}

// TestNoAllocations: what happens for each request must not make work for the garbage collector.
func TestNoAllocations(t *testing.T) {
	o := Options{URL: "https://h/{size}/{key}", Protocol: HTTP2, Sizes: []int64{1, 1024}, Keys: 100, Zipf: 1, MissRatio: 0.1}
	p := plans(t, o)
	choose := p.targets.chooser(1, 1)
	f1, f2, f3 := newH1Form(p), newH2Form(p), newH3Form(p)
	out, path := make([]byte, 0, 4096), make([]byte, 0, 4096)
	none := func(what string, f func()) {
		t.Helper()
		if n := testing.AllocsPerRun(1000, f); n != 0 {
			t.Errorf("%s: %v allocations", what, n)
		}
	}
	none("request of h1", func() { out = f1.append(out[:0], p.targets, choose.next()) })
	none("request of h2", func() { out = f2.append(out[:0], p.targets, choose.next(), 77) })
	none("request of h3", func() { out = f3.append(out[:0], &path, p.targets, choose.next()) })

	var p1 h1Parser
	head := []byte("HTTP/1.1 200 OK\r\nDate: x\r\nContent-Length: 5\r\n\r\nhello")
	none("response of h1", func() { p1.reset(); p1.consume(head) })
	frame := append(appendFrameHeader(nil, 5, frameData, 0, 1), "hello"...)
	var cutter frames
	none("frame of h2", func() { cutter.next(frame) })
	s, a, b := newStatuses(), []byte("\x88\x0f\x0d\x0215"), []byte("\x88\x0f\x0d\x0216")
	none("status of h2", func() { s.of(a); s.of(b) })
	h3 := join(h3Frame(h3Headers, "\x00\x00\xd9"), h3Frame(h3Data, "hello"))
	none("response of h3", func() { p3 := h3Parser{}; p3.consume(h3) })
	book := newBook()
	tally := tally{book: book}
	at := time.Duration(0)
	none("tally", func() { at += time.Millisecond; tally.add(time.Millisecond, at, 200, 5) })

	r := &run{plan: plans(t, Options{URL: "https://h/{key}", Protocol: HTTP2, Keys: 100}), book: book, epoch: time.Now()}
	w := newH2(r, 1)
	w.up, w.id, w.max, w.statuses, w.settled = true, 1, 1, newStatuses(), true
	answer := frameOf(frameHeaders, flagEndHeaders|flagEndStream, "\x88")
	none("exchange of h2", func() {
		w.fill(at)
		answer.stream = w.id - 2
		if err := w.handle(answer, at); err != nil {
			t.Fatal(err)
		}
		w.out = w.out[:0]
	})
}

func frameOf(kind, flags byte, payload string) frame {
	return frame{kind: kind, flags: flags, payload: []byte(payload), length: len(payload)}
}

// BenchmarkExchangeH2 is what a request costs the generator besides the system calls and TLS.
func BenchmarkExchangeH2(b *testing.B) {
	r := &run{plan: plans(b, Options{URL: "https://h/x", Protocol: HTTP2}), book: newBook(), epoch: time.Now()}
	w := newH2(r, 1)
	w.up, w.id, w.max, w.statuses, w.settled = true, 1, 1, newStatuses(), true
	answer := frameOf(frameHeaders, flagEndHeaders|flagEndStream, "\x88\x0f\x0d\x041024")
	for b.Loop() {
		w.fill(0)
		answer.stream = w.id - 2
		w.handle(answer, 0)
		w.out = w.out[:0]
	}
}

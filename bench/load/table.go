package load

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"
)

// WriteTable writes the report for people.
func (r *Report) WriteTable(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) { fmt.Fprintf(t, name+"\t"+format+"\n", args...) }
	row("target", "%s", r.URL)
	row("load", "%s", r.load())
	what, unit := "requests", "request"
	if r.Handshakes != "" {
		what, unit = r.Handshakes+" handshakes", "handshake"
	}
	row(what, "%d good, %d failed in %.2f s after %g s of warm-up", r.OK, r.Failed, r.Seconds, r.Warmup)
	row("throughput", "%.0f a second, %s of bodies a second", r.PerSecond, Bytes(int64(r.BytesPerS)))
	if l := r.Latency; r.OK > 0 {
		row("latency", "mean %s, p50 %s, p90 %s, p99 %s, p99.9 %s, p99.99 %s, max %s", micros(int64(l.Mean)), micros(l.P50), micros(l.P90),
			micros(l.P99), micros(l.P999), micros(l.P9999), micros(l.Max))
	}
	for _, s := range r.Statuses() {
		row(fmt.Sprintf("status %d", s), "%d", r.Status[s])
	}
	for _, class := range r.Classes() {
		row("failed: "+class, "%d, such as: %s", r.Failures[class].Count, r.Failures[class].Example)
	}
	if r.Late > 0 {
		row("late", "%d answers after the end, the slowest took %.0f ms", r.Late, r.LateMaxMs)
	}
	if r.Retried+r.Reconnects > 0 {
		row("connections", "%d made anew, %d requests made again", r.Reconnects, r.Retried)
	}
	if r.Server != nil {
		row("server", "%s, RSS %s, processes %d, threads %d", r.Server.text(unit), Bytes(r.Server.RSS), r.Server.Processes, r.Server.Threads)
	}
	row("generator", "%s", r.Generator.text(unit))
	if r.Bottleneck() {
		row("", "The generator used all of its CPU time: the server may be able to do more.")
	}
	return t.Flush()
}

// load describes what was asked for.
func (r *Result) load() string {
	name := map[string]string{HTTP1: "HTTP/1.1", HTTP2: "HTTP/2", HTTP3: "HTTP/3"}[r.Protocol]
	what := fmt.Sprintf("%s, %d connections", name, r.Connections)
	if r.Streams > 1 {
		what += fmt.Sprintf(" of %d streams", r.Streams)
	}
	if r.Loop == "open" {
		return fmt.Sprintf("%s, open loop of %g a second", what, r.Rate)
	}
	return what + ", closed loop"
}

// text says what a request or another unit costs.
func (c *Cost) text(unit string) string {
	return fmt.Sprintf("%.2f µs of CPU a %s (user %.2f, system %.2f), %.2f CPUs, %.2f context switches a %[2]s", c.CPUMicros, unit, c.User,
		c.System, c.CPUs, c.Switches)
}

// WriteTable writes the result for people.
func (r *IdleResult) WriteTable(w io.Writer) error {
	_, err := fmt.Fprintf(w, "%s  %s: %d connections, %d alive after %g s, %d requests failed\nRSS %s before, %s after: %s a connection\n",
		r.URL, r.Protocol, r.Connections, r.Alive, r.Settled, r.Failed, Bytes(r.Before), Bytes(r.After), Bytes(r.PerConn))
	return err
}

func micros(us int64) string {
	d := time.Duration(us) * time.Microsecond
	switch {
	case d >= time.Second:
		return fmt.Sprintf("%.2f s", d.Seconds())
	case d >= 10*time.Millisecond:
		return fmt.Sprintf("%.1f ms", d.Seconds()*1e3)
	case d >= time.Millisecond:
		return fmt.Sprintf("%.2f ms", d.Seconds()*1e3)
	}
	return fmt.Sprintf("%d µs", us)
}

// Bytes writes a number of bytes for people.
func Bytes(n int64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	x, i := float64(n), 0
	for ; (x >= 1024 || x <= -1024) && i < len(units)-1; i++ {
		x /= 1024
	}
	if i == 0 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %s", x, units[i])
}

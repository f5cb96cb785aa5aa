package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"nearcast/internal/lab/evil"
	"nearcast/internal/lab/failover"
	"nearcast/internal/lab/process"
)

// floodOf is what the second neighbor sends.
func floodOf(short bool) evil.Flood {
	if short {
		return evil.Flood{Routes: 100_000, Malformed: 100}
	}
	return evil.Flood{Routes: 1_000_000, Malformed: 1000, Pause: 25 * time.Millisecond} // 5 s: faster, and the sender alone fills the machine
}

// flood has the neighbor send everything and fills in what that did to requests and memory.
func (m *measured) flood(ctx context.Context, l net.Listener, edge process.ID, flood evil.Flood, rogue4 netip.Addr) error {
	begun := time.Now()
	if err := pause(ctx, 2*time.Second); err != nil {
		return err
	}
	rss, err := residentMiB(edge)
	if err != nil {
		return err
	}
	filtered, err := m.filtered(ctx)
	if err != nil {
		return err
	}
	event := time.Now()
	ended, err := flood.Run(ctx, l, evil.Identity{ASN: rogueASN, RouterID: rogue4})
	if err != nil {
		return err
	}
	if err := pause(ctx, calm); err != nil {
		return err
	}
	over := time.Now()
	now, err := m.filtered(ctx)
	if err != nil {
		return err
	}
	grown, err := residentMiB(edge)
	if err != nil {
		return err
	}
	if err := m.load.stop(); err != nil {
		return err
	}
	moves := movesAfter(begun, m.watch)
	m.lost = readFailures(m.sample, m.load, marks{region: m.region, event: event, moves: moves})
	m.sample[failover.Moves] = countMoves(moves)
	m.sample[failover.P99Before], m.sample[failover.P99During] = p99(m.load, begun, event), p99(m.load, event, over)
	m.sample[failover.P99Growth] = max(m.sample[failover.P99During]-m.sample[failover.P99Before], 0)
	m.sample[failover.RSSBefore], m.sample[failover.RSSGrowth] = rss, max(grown-rss, 0)
	m.sample[failover.Received] = now - filtered
	if ended != 0 {
		return fmt.Errorf("%d sessions with the neighbor were ended", ended)
	}
	return nil
}

// residentMiB is the memory of a process, proc_pid_status(5).
func residentMiB(id process.ID) (float64, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", id.PID))
	if err != nil {
		return 0, err
	}
	_, rest, ok := bytes.Cut(data, []byte("VmRSS:"))
	fields := strings.Fields(string(rest))
	if !ok || len(fields) == 0 {
		return 0, errors.New("no VmRSS in the process's status")
	}
	kib, err := strconv.ParseFloat(fields[0], 64)
	return kib / 1024, err
}

// decisions are how often an edge decided to withdraw and to announce, by prefix.
type decisions map[string]struct{ withdrawals, announcements float64 }

// since is what was decided since earlier, of the prefix with the most.
func (d decisions) since(earlier decisions) (withdrawals, announcements float64) {
	for prefix, now := range d {
		withdrawals = max(withdrawals, now.withdrawals-earlier[prefix].withdrawals)
		announcements = max(announcements, now.announcements-earlier[prefix].announcements)
	}
	return withdrawals, announcements
}

// decisions asks an edge what it has decided.
func (s *stage) decisions(ctx context.Context, edge string) (decisions, error) {
	text, err := s.metrics(ctx, edge)
	if err != nil {
		return nil, err
	}
	return parseDecisions(text)
}

const changesMetric = "nearcast_bgp_route_changes_total"

// parseDecisions takes the withdrawals from the changes of level, and for announcements the other changes between having a route and having none.
func parseDecisions(text string) (decisions, error) {
	found := decisions{}
	for labels, v := range series(text, changesMetric) {
		d := found[label(labels, "prefix")]
		d.announcements += v
		found[label(labels, "prefix")] = d
	}
	for labels, v := range series(text, "nearcast_bgp_level_changes_total") {
		if d, ok := found[label(labels, "prefix")]; ok && label(labels, "level") == "withdrawn" {
			d.withdrawals += v
			d.announcements -= v
			found[label(labels, "prefix")] = d
		}
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("the edge has no metric %s", changesMetric)
	}
	return found, nil
}

// filtered is how many UPDATEs the region's edge has dropped unread.
func (m *measured) filtered(ctx context.Context) (float64, error) {
	text, err := m.metrics(ctx, edgeName(m.region))
	total := 0.0
	for _, v := range series(text, "nearcast_bgp_filtered_updates_total") {
		total += v
	}
	return total, err
}

// metrics returns an edge's metrics.
func (s *stage) metrics(ctx context.Context, edge string) (string, error) {
	data, err := s.admin(ctx, http.MethodGet, edge, "/metrics", "")
	return string(data), err
}

// admin makes a request to an edge's operator listener. The body is JSON.
func (s *stage) admin(ctx context.Context, method, edge, path, body string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	transport := &http.Transport{DialContext: Namespace(Edge, edge).DialContext, DisableKeepAlives: true}
	req, err := http.NewRequestWithContext(ctx, method, "http://"+AdminAddress+path, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := transport.RoundTrip(req)
	if err != nil {
		return nil, fmt.Errorf("%s: %s %s: %w", edge, method, path, err)
	}
	defer res.Body.Close()
	data, err := io.ReadAll(io.LimitReader(res.Body, 4<<20))
	if err == nil && res.StatusCode >= 300 {
		err = fmt.Errorf("%s: %s %s: %s: %s", edge, method, path, res.Status, bytes.TrimSpace(data))
	}
	return data, err
}

// series are the values of a metric by the text of their labels, in the text exposition format.
func series(text, name string) map[string]float64 {
	found := map[string]float64{}
	for line := range strings.Lines(text) {
		rest, ok := strings.CutPrefix(line, name+"{")
		labels, value, cut := strings.Cut(rest, "} ")
		if v, err := strconv.ParseFloat(strings.TrimSpace(value), 64); ok && cut && err == nil {
			found[labels] = v
		}
	}
	return found
}

// label is the value of one of the labels. None of those that are asked for has a quote in it.
func label(labels, name string) string {
	_, rest, _ := strings.Cut(","+labels, ","+name+`="`)
	value, _, _ := strings.Cut(rest, `"`)
	return value
}

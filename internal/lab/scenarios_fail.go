package lab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"nearcast/bench"
	"nearcast/internal/lab/evil"
)

const (
	sigterm = syscall.SIGTERM
	sigkill = syscall.SIGKILL
)

// bothDaemons are a region with each of the daemons, where what a router does matters.
func bothDaemons() []string { return []string{"nyc", "fra"} }

// originsDead: the edge needs an origin in its own region, which dies and returns.
func originsDead(ctx context.Context, s *stage) {
	for _, name := range bothDaemons() {
		err := s.replaceEdge(ctx, edgeName(name), EdgeOptions{RegionalOrigins: 1})
		if err == nil {
			err = s.reset(ctx)
		}
		if err != nil {
			s.row(name, err)
		} else {
			s.disturb(ctx, disturbance{
				region: name,
				event:  func(ctx context.Context) error { return s.lab.KillOrigin(ctx, name) },
				repair: func(context.Context) error { return s.lab.StartOrigin(name) },
			})
		}
		s.restore(ctx, name)
	}
}

// restore stops the region's first edge, so that the next one starts with the usual configuration, also when ctx has ended.
func (s *stage) restore(ctx context.Context, name string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), clearTime)
	defer cancel()
	if err := s.lab.StopEdge(ctx, edgeName(name)); err != nil {
		s.row(name, fmt.Errorf("afterwards: %w", err))
	}
}

// listenerDead: the edge's sockets are destroyed under it. It lives on, but nobody gets in.
func listenerDead(ctx context.Context, s *stage) {
	for _, name := range bothDaemons() {
		s.disturb(ctx, disturbance{
			region: name,
			event:  func(ctx context.Context) error { return destroyListeners(ctx, name) },
			repair: func(ctx context.Context) error { return s.replaceEdge(ctx, edgeName(name), EdgeOptions{}) },
		})
	}
}

// destroyListeners closes the sockets that listen on port 443 in the region's edge namespace, through the kernel's socket diagnosis.
func destroyListeners(ctx context.Context, name string) error {
	n := Namespace(Edge, edgeName(name))
	for _, args := range [][]string{{"-K", "-H", "-t", "-l", "-n", "sport = :443"}, {"-K", "-H", "-u", "-a", "-n", "sport = :443"}} {
		if _, err := n.Command(ctx, "", "ss", args...); err != nil {
			return err
		}
	}
	left, err := n.Command(ctx, "", "ss", "-H", "-t", "-l", "-n", "sport = :443")
	if err == nil && strings.TrimSpace(left) != "" {
		err = fmt.Errorf("the kernel does not destroy sockets (CONFIG_INET_DIAG_DESTROY): %s", left)
	}
	return err
}

// plannedStop: SIGTERM. Not one request may fail.
func plannedStop(ctx context.Context, s *stage) {
	for _, name := range bothDaemons() {
		s.disturb(ctx, disturbance{
			region: name, lossless: true,
			event: func(context.Context) error { return s.lab.SignalEdge(edgeName(name), sigterm) },
			repair: func(ctx context.Context) error {
				if err := s.lab.StopEdge(ctx, edgeName(name)); err != nil { // it may still be draining
					return err
				}
				return s.lab.StartEdge(edgeName(name), EdgeOptions{})
			},
		})
	}
}

// killed: SIGKILL. The kernel closes the session for the process.
func killed(ctx context.Context, s *stage) {
	for _, name := range bothDaemons() {
		s.disturb(ctx, disturbance{
			region: name,
			event:  func(context.Context) error { return s.lab.SignalEdge(edgeName(name), sigkill) },
			repair: func(context.Context) error { return s.lab.StartEdge(edgeName(name), EdgeOptions{}) },
		})
	}
}

// sessionCleared: the operator of the router resets the session. The edge dials again by itself, with BIRD so soon that no request and
// hardly a poll notices.
func sessionCleared(ctx context.Context, s *stage) {
	for _, name := range bothDaemons() {
		row := s.newRow(name)
		load := start(ctx, s.usualLoads(name, "/dynamic"))
		s.fill(&row, func() error {
			defer load.stop()
			if err := pause(ctx, calm); err != nil {
				return err
			}
			before, err := s.lab.Session(ctx, edgeName(name))
			if err != nil {
				return err
			}
			event := time.Now()
			if err := s.lab.ClearSession(ctx, edgeName(name)); err != nil {
				return err
			}
			err = await(ctx, "another session", func() (bool, string, error) {
				now, err := s.lab.Session(ctx, edgeName(name))
				return err == nil && now.Established && !now.Same(before), "the session is " + now.State, err
			})
			if err != nil {
				return err
			}
			if err := s.awaitReturn(ctx, name, event, &row); err != nil {
				return err
			}
			if err := load.stop(); err != nil {
				return err
			}
			over := event.Add(row.Back)
			return judgeAfter(&row, load, event, over.Add(calm/2))
		})
	}
}

// judgeAfter fills the row from the records. Of those sent after a moment none may have failed.
func judgeAfter(row *Row, load *running, event, after time.Time) error {
	var errs []error
	for i, result := range load.results {
		lost := failures(result.Records)
		row.Requests += len(result.Records)
		row.Failed += len(lost)
		lost = slices.DeleteFunc(lost, func(r bench.Record) bool { return !r.Sent().After(after) })
		errs = append(errs, explain(load.loads[i], result, lost, event))
	}
	return errors.Join(errs...)
}

// wrongPassword: the edge has another key than its router. It must say so, with the neighbor's address, and not every second.
func wrongPassword(ctx context.Context, s *stage) {
	const most, watch = 3, 10 * time.Second
	for _, name := range bothDaemons() {
		_, offset, err := s.logSince(edgeProgram(edgeName(name)), 0)
		if err == nil {
			err = s.replaceEdge(ctx, edgeName(name), EdgeOptions{Password: "not-the-key"})
		}
		r, _ := region(name)
		router4, _, _, _ := r.First().addresses()
		lines := 0
		if err == nil {
			err = await(ctx, "a log line about the password of "+router4.String(), func() (bool, string, error) {
				text, _, err := s.logSince(edgeProgram(edgeName(name)), offset)
				lines = passwordLines(text, router4)
				return lines > 0, "the log has " + fmt.Sprint(strings.Count(text, "\n")) + " other lines", err
			})
		}
		if err == nil {
			err = pause(ctx, watch)
		}
		if err == nil {
			var text string
			text, _, err = s.logSince(edgeProgram(edgeName(name)), offset)
			if lines = passwordLines(text, router4); lines > most {
				err = errors.Join(err, fmt.Errorf("%d log lines about it in %v", lines, watch))
			}
		}
		if session, serr := s.lab.Session(ctx, edgeName(name)); serr != nil || session.Established {
			err = errors.Join(err, serr, fmt.Errorf("the session is %s with the wrong password", session.State))
		}
		s.row(name, err)
		s.restore(ctx, name)
	}
}

var passwordWord = regexp.MustCompile(`(?i)password|md5`)

// passwordLines counts the log lines that name the neighbor and the password.
func passwordLines(log string, neighbor netip.Addr) int {
	n := 0
	for line := range strings.Lines(log) {
		if strings.Contains(line, neighbor.String()) && passwordWord.MatchString(line) {
			n++
		}
	}
	return n
}

// malformedUpdates: a second neighbor sends everything that it should not. The proxy serves on, and the router keeps the routes.
func malformedUpdates(ctx context.Context, s *stage) {
	const name = "nyc"
	row := s.newRow(name)
	s.fill(&row, func() error {
		r, err := region(name)
		if err != nil {
			return err
		}
		if err := buildRogue(ctx, r); err != nil {
			return err
		}
		defer func() { _ = Namespace(Rogue, name).Delete(context.WithoutCancel(ctx)) }()
		defer s.restore(ctx, name)
		if err := s.replaceEdge(ctx, edgeName(name), EdgeOptions{Rogue: true}); err != nil {
			return err
		}
		if err := s.reset(ctx); err != nil {
			return err
		}
		return s.sendMalformed(ctx, r, &row)
	})
}

// buildRogue makes the namespace of a second neighbor, straight at the edge.
func buildRogue(ctx context.Context, r Region) error {
	rogue, edge := Namespace(Rogue, r.Name), Namespace(Edge, edgeName(r.Name))
	if err := rogue.Create(ctx); err != nil {
		return err
	}
	if err := join(ctx, edge, "rogue0", rogue, "up0"); err != nil {
		return err
	}
	rogue4, rogue6, edge4, edge6 := r.addresses(Rogue)
	return errors.Join(
		rogue.IP(ctx, fmt.Sprintf("addr add %s/30 dev up0", rogue4), fmt.Sprintf("addr add %s/64 dev up0 nodad", rogue6)),
		edge.IP(ctx, fmt.Sprintf("addr add %s/30 dev rogue0", edge4), fmt.Sprintf("addr add %s/64 dev rogue0 nodad", edge6)))
}

func (s *stage) sendMalformed(ctx context.Context, r Region, row *Row) error {
	process, err := s.lab.EdgeProcess(edgeName(r.Name))
	if err != nil {
		return err
	}
	rogue4, _, _, _ := r.addresses(Rogue)
	l, err := Namespace(Rogue, r.Name).Listen(ctx, "tcp4", netip.AddrPortFrom(rogue4, 179).String())
	if err != nil {
		return err
	}
	load, began := start(ctx, s.usualLoads(r.Name, "/dynamic")), time.Now()
	defer load.stop()
	before, err := s.lab.Session(ctx, edgeName(r.Name))
	if err != nil {
		return err
	}
	watch, err := Namespace(Router, r.Name).WatchRoutes()
	if err != nil {
		return err
	}
	defer watch.Close()
	cases := evil.Cases()
	outcomes, err := evil.Run(ctx, l, evil.Identity{ASN: rogueASN, RouterID: rogue4}, cases)
	for _, o := range outcomes {
		s.lab.log.Debug("malformed message", "case", o.Case, "closed", o.Closed)
	}
	errs := []error{err}
	if n := len(watch.Changes(Prefix4)) + len(watch.Changes(Prefix6)); n > 0 {
		errs = append(errs, fmt.Errorf("the router changed the edge's routes %d times", n))
	}
	if after, err := s.lab.Session(ctx, edgeName(r.Name)); err != nil || !after.Same(before) {
		errs = append(errs, errors.Join(err, fmt.Errorf("the session with the router is %+v, it was %+v", after, before)))
	}
	if len(outcomes) != len(cases) {
		errs = append(errs, fmt.Errorf("%d of %d messages were sent", len(outcomes), len(cases)))
	}
	if now, err := s.lab.EdgeProcess(edgeName(r.Name)); err != nil || now != process {
		errs = append(errs, errors.Join(err, fmt.Errorf("the edge is process %d, it was %d", now.PID, process.PID)))
	}
	if err := load.stop(); err != nil {
		return errors.Join(append(errs, err)...)
	}
	return errors.Join(append(errs, judgeAfter(row, load, began, time.Time{}))...)
}

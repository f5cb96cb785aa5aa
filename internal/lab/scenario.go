package lab

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"nearcast/internal/lab/browser"
	"nearcast/internal/pki"
)

// scenarioTime bounds one scenario with the repair after it.
const scenarioTime = 2 * time.Minute

// Scenario is one thing that happens to the lab, and what must come of it.
type Scenario struct {
	Name   string
	Proves string

	run func(ctx context.Context, s *stage)
	// browser: needs Chromium
	browser bool
	// pairs: every edge of a region runs, not only the first
	pairs bool
	// clients of package quicload that take part
	clients []string
}

// Scenarios returns all scenarios in the order in which they run.
func Scenarios() []Scenario {
	return []Scenario{
		{Name: "reach", Proves: "every client reaches its own region's edge over every protocol and both families", run: reach},
		{Name: "secured", Proves: "BIRD and FRR hold sessions with TCP MD5 and TTL security", run: securedSessions},
		{Name: "cache", Proves: "a cacheable object is fetched once from its origin and then served from Tokyo", run: cacheOnce},
		{Name: "nearest-origin", Proves: "a dynamic request goes to the nearest healthy origin, and no request fails when that dies", run: nearestOrigin},
		{Name: "browser", Proves: "Chromium loads a page over HTTP/3, and again after the route has moved", run: realBrowser, browser: true},
		{Name: "origins-dead", Proves: "an edge whose required origins are dead withdraws, and returns with them", run: originsDead},
		{Name: "listener-dead", Proves: "an edge that no longer accepts connections withdraws", run: listenerDead},
		{Name: "stop", Proves: "a planned stop fails no request", run: plannedStop},
		{Name: "kill", Proves: "a killed edge is withdrawn by its session's end", run: killed},
		{Name: "stopped", Proves: "an edge that hangs is withdrawn, and returns when it goes on", run: stopped},
		{Name: "cut", Proves: "an edge behind a silent link is withdrawn, and returns with it", run: linkCut},
		{Name: "ecmp", Proves: "two edges share a region's flows; when one dies only its flows break, and none leave the region", run: ecmp, pairs: true},
		{Name: "drain", Proves: "an ordered drain fails no request, and can be taken back", run: played("drain")},
		{Name: "return", Proves: "an edge that comes back fails no new request", run: played("return")},
		{Name: "router-restart", Proves: "a router that restarts finds the edge's routes as they were", run: played("router-restart")},
		{Name: "flap", Proves: "sessions that flap make the edge decide nothing", run: played("flap")},
		{Name: "shared-origin", Proves: "when all regions lose a shared origin no route moves, and the cache serves on", run: played("shared-origin")},
		{Name: "control-plane", Proves: "a router's flood of routes and of malformed messages does not reach requests", run: played("control-plane")},
		{Name: "quic-move", Proves: "browsers and other QUIC clients keep their connections while the route moves away and back", run: survived("move"), clients: append(quicClients(), "h2")},
		{Name: "quic-death", Proves: "they come back at once when their edge dies", run: survived("kill"), clients: append(quicClients(), "h2")},
		{Name: "quic-ecmp", Proves: "connections live on while two edges of a region exchange their flows, and clients come back when one dies", run: survived("ecmp-flip", "ecmp"), clients: []string{"quic-go"}, pairs: true},
		{Name: "quic-urpf", Proves: "replies take the tunnel where the edge's own would be dropped", run: survived("urpf"), clients: []string{"quic-go"}},
		{Name: "quic-rebind", Proves: "a client whose port changes keeps its connection", run: survived("rebind"), clients: []string{"quic-go"}},
		{Name: "session-cleared", Proves: "an edge announces again after its router has reset the session", run: sessionCleared},
		{Name: "wrong-password", Proves: "a wrong password is said once in the log, with the neighbor's address", run: wrongPassword},
		{Name: "malformed-update", Proves: "malformed and oversized messages of a router stop neither the proxy nor the other session", run: malformedUpdates},
	}
}

// RunScenarios runs the named scenarios, or all, one after the other, and leaves the lab as it was. What fails is in the report; the
// error says why they could not all be run.
func (l *Lab) RunScenarios(ctx context.Context, only ...string) (Report, error) {
	chosen, err := choose(only)
	if err != nil {
		return Report{}, err
	}
	if l.options.NoEdges {
		return Report{}, errors.New("a lab without edges has no scenarios")
	}
	roots, err := pki.LoadPool(AuthorityFile)
	if err != nil {
		return Report{}, err
	}
	var report Report
	start := time.Now()
	for _, sc := range chosen {
		l.log.Info("scenario", "name", sc.Name, "proves", sc.Proves)
		report.Rows = append(report.Rows, l.runScenario(ctx, sc, roots)...)
		report.Took = time.Since(start)
		if ctx.Err() != nil {
			return report, context.Cause(ctx)
		}
	}
	return report, nil
}

// CheckScenarios says whether all the names are of scenarios, before a lab is built for them.
func CheckScenarios(names ...string) error {
	_, err := choose(names)
	return err
}

func choose(only []string) ([]Scenario, error) {
	all := Scenarios()
	if len(only) == 0 {
		return all, nil
	}
	var chosen []Scenario
	for _, name := range only {
		i := slices.IndexFunc(all, func(s Scenario) bool { return s.Name == name })
		if i < 0 {
			var names []string
			for _, s := range all {
				names = append(names, s.Name)
			}
			return nil, fmt.Errorf("no scenario is called %q; there are %s", name, strings.Join(names, ", "))
		}
		chosen = append(chosen, all[i])
	}
	return chosen, nil
}

func (l *Lab) runScenario(ctx context.Context, sc Scenario, roots *x509.CertPool) []Row {
	ctx, cancel := context.WithTimeoutCause(ctx, scenarioTime, fmt.Errorf("the scenario took more than %v", scenarioTime))
	defer cancel()
	s := &stage{lab: l, scenario: sc.Name, pairs: sc.pairs, roots: roots}
	if sc.browser && browser.Available() != nil {
		s.row("", errors.New("needs "+browser.Available().Error()))
		return s.rows
	}
	if _, err := chooseClients(sc.clients); sc.clients != nil && err != nil {
		s.row("", err)
		return s.rows
	}
	s.clients = sc.clients
	if err := s.reset(ctx); err != nil {
		s.row("", fmt.Errorf("before the scenario: %w", err))
	} else {
		sc.run(ctx, s)
	}
	if s.failed() {
		if err := s.clear(ctx); err != nil {
			s.row("", fmt.Errorf("after the scenario: %w", err))
		}
	}
	for _, row := range s.rows {
		l.log.Info("result", "scenario", sc.Name, "region", row.Region, "withdrawn", row.Withdrawn, "elsewhere", row.Elsewhere,
			"back", row.Back, "failed", row.failures(), "err", row.Err)
	}
	return s.rows
}

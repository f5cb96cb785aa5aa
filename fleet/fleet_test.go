package fleet

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/VictoriaMetrics/metrics"
)

func TestEdgesHearEachOtherAndFallSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		fra := n.edge(t, fraAddr, "fra-1", "fra", all...)
		nyc := n.edge(t, nycAddr, "nyc-1", "nyc", all...)
		fra.want(t, nycAddr, Unknown, OutcomeNone, "before the first question nothing is known")
		if fra.peer(t, nycAddr).Level(v4) != LevelUnknown {
			t.Error("an edge that has not been heard has a level")
		}

		nyc.Publish(Report{Prefixes: []PrefixReport{{Prefix: v4, Level: LevelFull, Reason: "serving"}}})
		time.Sleep(time.Second)
		p := fra.want(t, nycAddr, Heard, OutcomeAnswered, "after an interval")
		if p.Edge != "nyc-1" || p.Region != "nyc" || p.Report.Region != "nyc" || p.Report.Software != "test" || p.Level(v4) != LevelFull || p.Level(v6) != LevelUnknown {
			t.Errorf("what nyc says: %+v", p.Report)
		}
		time.Sleep(time.Second)
		if p = fra.want(t, nycAddr, Heard, OutcomeAnswered, "after two more"); !p.Hears("fra-1") || p.Hears("tyo-1") {
			t.Errorf("nyc hears %v, want fra-1 alone", p.Report.Hears)
		}
		if tyo := fra.want(t, tyoAddr, Silent, OutcomeNoConnection, "nobody has ever answered there"); !tyo.HeardAt.IsZero() || tyo.Edge != "" {
			t.Errorf("an edge that was never there: %+v", tyo)
		}

		heard := fra.peer(t, nycAddr).HeardAt
		n.cut(nycAddr)
		time.Sleep(1500*time.Millisecond - time.Since(heard) - time.Millisecond)
		if synctest.Wait(); fra.peer(t, nycAddr).State != Heard {
			t.Error("silent before its time")
		}
		time.Sleep(2 * time.Millisecond)
		p = fra.want(t, nycAddr, Silent, OutcomeTimeout, "no answer for 1.5s")
		if p.Level(v4) != LevelUnknown || p.Hears("fra-1") || p.Report == nil || p.HeardAt != heard || p.RTT != 0 || p.Err == nil {
			t.Errorf("silent: %+v", p)
		}
		if slices.Contains(fra.report(time.Now()).Hears, "nyc-1") {
			t.Error("fra says that it hears an edge that is silent")
		}
	})
}

func TestAnEdgeThatComesBackIsHeardAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		fra := n.edge(t, fraAddr, "fra-1", "fra", all...)
		nyc := n.edge(t, nycAddr, "nyc-1", "nyc", all...)
		time.Sleep(2 * time.Second)
		before := fra.want(t, nycAddr, Heard, OutcomeAnswered, "at first").Report
		nyc.stop()
		time.Sleep(3 * time.Second)
		fra.want(t, nycAddr, Silent, OutcomeNoConnection, "it has stopped")
		n.edge(t, nycAddr, "nyc-1", "nyc", all...)
		time.Sleep(2 * time.Second)
		after := fra.want(t, nycAddr, Heard, OutcomeAnswered, "it is back").Report
		if before.Instance == after.Instance || after.Uptime >= 2*time.Second+time.Millisecond {
			t.Errorf("a new process looks like the old one: %+v, %+v", before, after)
		}
		if fra.log.count("an edge is silent") != 2 || fra.log.count("name=nyc-1 was=unknown") != 1 || fra.log.count("name=nyc-1 was=silent") != 1 {
			t.Errorf("the log does not tell what happened:\n%s", fra.log.b.String())
		}
		if fra.log.count("another edge") != 0 {
			t.Error("an edge that restarted is another edge")
		}
	})
}

func TestOneLostAnswerMakesNobodySilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		fra := n.edge(t, fraAddr, "fra-1", "fra", all...)
		n.edge(t, nycAddr, "nyc-1", "nyc", all...)
		time.Sleep(2 * time.Second)
		wakes := fra.Subscribe()
		for range 20 { // each connection is closed under the edge's hands
			n.listeners[nycAddr].mu.Lock()
			for _, c := range n.listeners[nycAddr].given {
				c.Close()
			}
			n.listeners[nycAddr].given = nil
			n.listeners[nycAddr].mu.Unlock()
			time.Sleep(700 * time.Millisecond)
			fra.want(t, nycAddr, Heard, OutcomeAnswered, "a new connection is made at once")
		}
		select {
		case <-wakes:
			t.Error("woken though nothing changed")
		default:
		}
	})
}

func TestTheSubscriberIsWokenByWhatIsNew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		fra := n.edge(t, fraAddr, "fra-1", "fra", all...)
		nyc := n.edge(t, nycAddr, "nyc-1", "nyc", Target{"fra", fraAddr})
		time.Sleep(3 * time.Second)
		wakes := fra.Subscribe()
		quiet := func(why string) {
			t.Helper()
			time.Sleep(5 * time.Second)
			synctest.Wait()
			select {
			case <-wakes:
				t.Fatalf("woken: %s", why)
			default:
			}
		}
		woken := func(why string) {
			t.Helper()
			time.Sleep(2 * time.Second)
			synctest.Wait()
			select {
			case <-wakes:
			default:
				t.Fatalf("not woken: %s", why)
			}
		}
		quiet("nothing is new, and how long it has lasted is no news")
		full := PrefixReport{Prefix: v4, Level: LevelFull, Reason: "serving"}
		nyc.Publish(Report{Prefixes: []PrefixReport{full}})
		woken("a level")
		full.For = time.Minute
		nyc.Publish(Report{Prefixes: []PrefixReport{full}})
		quiet("the same again")
		nyc.Publish(Report{Prefixes: []PrefixReport{full}, Intents: []Intent{{Prefix: v4, Reason: "too few healthy origins"}}})
		woken("an intent")
		nyc.Publish(Report{Prefixes: []PrefixReport{full}, Load: "high"})
		woken("its load")
		n.cut(nycAddr)
		woken("it is silent")
	})
}

func TestDurationsGoOnWhileNothingIsPublished(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		fra := n.edge(t, fraAddr, "fra-1", "fra", all...)
		nyc := n.edge(t, nycAddr, "nyc-1", "nyc", all...)
		nyc.Publish(Report{Prefixes: []PrefixReport{{Prefix: v4, Level: LevelFull, For: time.Minute}}, Intents: []Intent{{Prefix: v4, For: time.Hour}}})
		time.Sleep(10 * time.Second)
		p := fra.want(t, nycAddr, Heard, OutcomeAnswered, "after ten seconds")
		r, since := p.Report, 10*time.Second-time.Since(p.HeardAt)
		if r.Age != since || r.Prefixes[0].For != time.Minute+since || r.Intents[0].For != time.Hour+since || r.Uptime != since || r.Sequence != 1 {
			t.Errorf("after %s: %+v", since, r)
		}
	})
}

func TestOwnAddressIsRecognised(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		fra := n.edge(t, fraAddr, "fra-1", "fra", Target{"fra", tyoAddr}, Target{"nyc", nycAddr})
		n.edge(t, nycAddr, "nyc-1", "nyc", Target{"fra", fraAddr})
		n.lead(tyoAddr, fraAddr) // an address translated to this edge's own
		time.Sleep(2 * time.Second)
		fra.want(t, tyoAddr, Self, OutcomeSelf, "the address leads back")
		if others := fra.View().Others("fra-1"); len(others) != 1 || others[0].Edge != "nyc-1" {
			t.Errorf("an edge that sees itself counts itself: %+v", others)
		}
		if fra.log.count("two edges have the same name") != 0 {
			t.Error("an edge takes itself for a twin")
		}
		asked := strings.Count(fra.text(), `result="self"} 1`)
		time.Sleep(30 * time.Second)
		if asked != 1 || strings.Count(fra.text(), `result="self"} 1`) != 1 {
			t.Error("the own address is asked all the time")
		}

		n.lead(tyoAddr, nycAddr)
		time.Sleep(selfInterval + 2*time.Second)
		fra.want(t, tyoAddr, Silent, OutcomeWrongRegion, "the address leads elsewhere now, and no edge of the region answers there")
	})
}

func TestAnEdgeOfAnotherRegionDoesNotCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		fra := n.edge(t, fraAddr, "fra-1", "fra", all...)
		n.edge(t, nycAddr, "nyc-1", "nyc", all...)
		n.lead(tyoAddr, nycAddr)
		time.Sleep(10 * time.Second)
		fra.want(t, nycAddr, Heard, OutcomeAnswered, "where it is expected")
		p := fra.want(t, tyoAddr, Silent, OutcomeWrongRegion, "nobody of tyo answers")
		if !strings.Contains(p.Err.Error(), "nyc-1 says that it stands in nyc, not in tyo") {
			t.Error(p.Err)
		}
		if c := fra.log.count("an edge stands in another region"); c != 1 {
			t.Errorf("told %d times, want once", c)
		}
	})
}

func TestAnotherEdgeAtAnAddressIsToldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		fra := n.edge(t, fraAddr, "fra-1", "fra", all...)
		one := n.edge(t, nycAddr, "nyc-1", "nyc", all...)
		time.Sleep(2 * time.Second)
		for range 3 {
			one.stop()
			two := n.edge(t, nycAddr, "nyc-2", "nyc", all...)
			time.Sleep(2 * time.Second)
			if p := fra.want(t, nycAddr, Heard, OutcomeAnswered, "another machine"); p.Edge != "nyc-2" {
				t.Fatalf("the edge is %s", p.Edge)
			}
			two.stop()
			one = n.edge(t, nycAddr, "nyc-1", "nyc", all...)
			time.Sleep(2 * time.Second)
		}
		if c := fra.log.count("another edge than before"); c != 1 {
			t.Errorf("told %d times, want once", c)
		}
		if !strings.Contains(fra.text(), `nearcast_fleet_other_edge_total{region="nyc",address="198.51.100.18:9181"} 6`) {
			t.Error("not all were counted")
		}
	})
}

func TestTwinsAreTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		fra := n.edge(t, fraAddr, "fra-1", "fra", all...)
		n.edge(t, nycAddr, "one", "nyc", all...)
		tyo := n.edge(t, tyoAddr, "one", "tyo", all...)
		time.Sleep(10 * time.Second)
		if c := fra.log.count("two edges have the same name"); c != 1 {
			t.Errorf("told %d times, want once", c)
		}
		if len(fra.View().Others("fra-1")) != 2 {
			t.Error("two processes with one name count as one")
		}
		if c := tyo.log.count(`two edges have the same name; give each one of its own" name=one`); c != 1 {
			t.Errorf("one of them was told %d times of its twin, want once", c)
		}
	})
}

func TestOnlyTheSecretIsBelieved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		fra := n.edge(t, fraAddr, "fra-1", "fra", all...)
		nyc := n.edgeWith(t, nycAddr, "nyc-1", "nyc", []string{secretB}, all...)
		time.Sleep(3 * time.Second)
		p := fra.want(t, nycAddr, Silent, OutcomeRefused, "another secret")
		if !strings.Contains(p.Err.Error(), "same secret") || p.Report != nil {
			t.Errorf("%v, %+v", p.Err, p.Report)
		}
		nyc.want(t, fraAddr, Silent, OutcomeRefused, "the other way too")
		if !strings.Contains(nyc.text(), `nearcast_fleet_questions_refused_total{reason="not authentic"}`) || nyc.server.metrics.answered.Get() != 0 {
			t.Error("a stranger was answered")
		}
	})
}

func TestASecretIsReplacedWithoutSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// The steps of a replacement, and each pair of edges that may stand at different ones meanwhile.
		steps := [][]string{{secretA}, {secretA, secretB}, {secretB, secretA}, {secretB}}
		for i := range steps {
			for j := max(0, i-1); j < min(len(steps), i+2); j++ {
				n := newNetwork()
				fra := n.edgeWith(t, fraAddr, "fra-1", "fra", steps[i], all...)
				nyc := n.edgeWith(t, nycAddr, "nyc-1", "nyc", steps[j], all...)
				time.Sleep(2 * time.Second)
				fra.want(t, nycAddr, Heard, OutcomeAnswered, "between two steps")
				nyc.want(t, fraAddr, Heard, OutcomeAnswered, "between two steps")
				fra.stop()
				nyc.stop()
			}
		}
	})
}

func TestStopEndsEverything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // which fails when a goroutine is left
		n := newNetwork()
		fra := n.edge(t, fraAddr, "fra-1", "fra", all...)
		nyc := n.edge(t, nycAddr, "nyc-1", "nyc", all...)
		time.Sleep(2 * time.Second)
		aside := netip.MustParseAddrPort("198.51.100.99:9181")
		n.lead(aside, nycAddr)
		n.cut(nycAddr) // fra waits for an answer, nyc has its connection open
		time.Sleep(700 * time.Millisecond)
		start := time.Now()
		fra.stop()
		if time.Since(start) != 0 {
			t.Error("a stop waits for an answer")
		}
		n.connect(t, strangerAddr, aside) // of somebody who says nothing
		synctest.Wait()
		start = time.Now()
		nyc.stop()
		if time.Since(start) > stopTimeout {
			t.Errorf("a stop waits %s for a stranger", time.Since(start))
		}
	})
}

func TestRunWaitsForWhatItHasBegun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := slog.New(slog.DiscardHandler)
		keys, err := openKeyFile(secretFile(t, secretA), true, log, metrics.NewSet())
		if err != nil {
			t.Fatal(err)
		}
		n := newNetwork()
		stubborn := func(context.Context, netip.AddrPort) (net.Conn, error) {
			time.Sleep(time.Hour)
			return nil, net.ErrClosed
		}
		f := newFleet(testConfig(), Identity{Edge: "fra-1"}, all[1:], parts{keys, n.listen(fraAddr), stubborn}, log, metrics.NewSet())
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		start := time.Now()
		if err := f.Run(ctx); err != nil || time.Since(start) < time.Hour {
			t.Errorf("%v after %s, while a dial goes on", err, time.Since(start))
		}

		l := n.listen(nycAddr)
		slow := func(time.Time) *Report { time.Sleep(time.Hour); return new(Report) }
		s := newServer(l, newSources(nil), keys.get, slow, newServerMetrics(metrics.NewSet()), log)
		var running sync.WaitGroup
		running.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			start := time.Now()
			if err := s.run(ctx); err != nil || time.Since(start) < time.Hour {
				t.Errorf("%v after %s, while an answer is made", err, time.Since(start))
			}
		})
		c := n.connect(t, strangerAddr, nycAddr)
		q := newQuestion("nyc-1")
		io.WriteString(c, q.request(nycAddr, keys.get().signQuestion(q)))
		running.Wait()
	})
}

func TestWhatIsPublishedIsCutAndCopied(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		fra := n.edge(t, fraAddr, "fra-1", "fra", all...)
		nyc := n.edge(t, nycAddr, "nyc-1", "nyc", all...)
		says := []PrefixReport{{Prefix: v4, Level: LevelFull, Reason: "a \"word\"\n"}, {}}
		nyc.Publish(Report{Edge: "fra-1", Region: "moon", Version: -1, Hears: []string{"x"}, Prefixes: says})
		says[0].Level = LevelWithdrawn
		time.Sleep(time.Second)
		r := fra.want(t, nycAddr, Heard, OutcomeAnswered, "a report with too much in it").Report
		if len(r.Prefixes) != 1 || r.Prefixes[0].Reason != "a ?word??" || r.Prefixes[0].Level != LevelFull || r.Edge != "nyc-1" || r.Version != version {
			t.Errorf("%+v", r)
		}
	})
}

func TestNilIsAFleetOfNobody(t *testing.T) {
	f, err := Open(nil, Identity{}, nil, nil, nil)
	if f != nil || err != nil {
		t.Fatalf("%v, %v", f, err)
	}
	f.Publish(Report{})
	if f.View() == nil || len(f.View().Others("fra-1")) != 0 || f.Subscribe() != nil || f.Status() != nil || f.Addr() != nil {
		t.Error("a nil fleet knows something")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := f.Run(ctx); err != nil {
		t.Error(err)
	}
}

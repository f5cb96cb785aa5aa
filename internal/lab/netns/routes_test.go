package netns

import (
	"context"
	"net/netip"
	"testing"
	"time"
)

func TestRouteChangesAreSeenAsTheyHappen(t *testing.T) {
	n := fresh(t, "routes")
	w, err := n.WatchRoutes()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	before := time.Now()
	err = n.IP(t.Context(), "route add 192.0.2.0/24 dev lo", "route add 2001:db8:53::/48 dev lo", "route del 192.0.2.0/24 dev lo")
	if err != nil {
		t.Fatal(err)
	}
	v4, v6 := netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8:53::/48")
	deadline := time.Now().Add(10 * time.Second)
	for len(w.Changes(v4)) < 2 || len(w.Changes(v6)) < 1 {
		if time.Now().After(deadline) {
			t.Fatalf("changes: %+v %+v", w.Changes(v4), w.Changes(v6))
		}
		time.Sleep(time.Millisecond)
	}
	if c := w.Changes(v4); c[0].Removed || !c[1].Removed || c[0].At.Before(before) || c[1].At.Before(c[0].At) {
		t.Errorf("changes: %+v", c)
	}
}

func FuzzParseRouteChanges(f *testing.F) {
	f.Add([]byte{36, 0, 0, 0, 24, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 24, 0, 0, 254, 0, 0, 1, 0, 0, 0, 0, 8, 0, 1, 0, 192, 0, 2, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, c := range parseRouteChanges(data) {
			if !c.Prefix.IsValid() {
				t.Errorf("an invalid prefix out of %x", data)
			}
		}
	})
}

func TestParseRouteChange(t *testing.T) {
	message := []byte{36, 0, 0, 0, 24, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 24, 0, 0, 254, 0, 0, 1, 0, 0, 0, 0, 8, 0, 1, 0, 192, 0, 2, 0}
	got := parseRouteChanges(append(message, message...))
	if len(got) != 2 || got[1].Prefix.String() != "192.0.2.0/24" || got[1].Removed {
		t.Errorf("%+v", got)
	}
	if got := parseRouteChanges(message[:30]); len(got) != 0 {
		t.Errorf("half a message: %+v", got)
	}
}

// Await returns with the last first change after a moment, however many there were before.
func TestAwaitRouteChanges(t *testing.T) {
	n := fresh(t, "await")
	w, err := n.WatchRoutes()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	v4, v6 := netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8:53::/48")
	if err := n.IP(t.Context(), "route add 192.0.2.0/24 dev lo", "route add 2001:db8:53::/48 dev lo"); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Await(t.Context(), time.Time{}, v4, v6); err != nil {
		t.Fatal(err)
	}
	after := time.Now()
	if err := n.IP(t.Context(), "route del 2001:db8:53::/48 dev lo", "route del 192.0.2.0/24 dev lo"); err != nil {
		t.Fatal(err)
	}
	at, err := w.Await(t.Context(), after, v4, v6)
	if c := w.Changes(v4); err != nil || !at.After(after) || at.Before(c[len(c)-1].At) {
		t.Errorf("%v after %v: %v; %+v", at, after, err, c)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := w.Await(ctx, time.Now(), v4); err == nil {
		t.Error("a change that there was not")
	}
}

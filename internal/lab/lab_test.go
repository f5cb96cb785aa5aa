package lab

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"nearcast/internal/lab/netns"
)

// upOrSkip brings a lab up and has it taken down at the end. It skips aloud where there can be none.
func upOrSkip(t *testing.T, o Options) *Lab {
	t.Helper()
	if missing := Missing(); len(missing) > 0 {
		t.Skipf("the lab needs %s", strings.Join(missing, ", "))
	}
	o.Wait, o.Log = 5*time.Minute, slog.New(slog.NewTextHandler(t.Output(), nil))
	l, err := Up(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return l
}

func TestRoutersAlone(t *testing.T) {
	start := time.Now()
	l := upOrSkip(t, Options{NoEdges: true})
	t.Logf("up in %v", time.Since(start))

	t.Run("every client reaches every other over both families", func(t *testing.T) {
		for _, from := range regions {
			for _, to := range regions {
				_, _, own4, own6 := to.addresses(Client)
				for _, address := range []string{own4.String(), own6.String()} {
					out, err := Namespace(Client, from.Name).Command(t.Context(), "", "ping", "-c", "1", "-W", "5", "-n", address)
					if err != nil {
						t.Errorf("%s to %s: %v %s", from.Name, to.Name, err, out)
					}
				}
			}
		}
	})
	t.Run("without edges the anycast prefixes lead nowhere", func(t *testing.T) {
		for _, r := range regions {
			for _, p := range []string{Prefix4.String(), Prefix6.String()} {
				route, err := l.Route(t.Context(), r.Name, mustPrefix(t, p))
				if err != nil || len(route.Paths) != 0 {
					t.Errorf("%s holds %s: %s %v", r.Name, p, route, err)
				}
			}
			for _, e := range r.Sites() {
				if s, err := l.Session(t.Context(), e.Name()); err != nil || s.Established || s.State == "" {
					t.Errorf("%s: session %+v, %v", e.Name(), s, err)
				}
				if err := l.ClearSession(t.Context(), e.Name()); err != nil {
					t.Error(err)
				}
			}
		}
	})
	t.Run("a second lab is refused by name", func(t *testing.T) {
		_, err := Up(t.Context(), Options{NoEdges: true})
		var held *HeldError
		if !errors.As(err, &held) || held.Holder.PID != os.Getpid() {
			t.Errorf("Up: %v", err)
		}
		if err := Down(t.Context()); err == nil || !strings.Contains(err.Error(), "this process") {
			t.Errorf("Down: %v", err)
		}
	})
	t.Run("another handle can attach", func(t *testing.T) {
		other, err := Attach(nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := other.Session(t.Context(), "fra-1"); err != nil {
			t.Error(err)
		}
		if _, err := other.Link("nyc", "fra"); err == nil {
			t.Error("an attached lab has links")
		}
		if err := other.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})

	if err := l.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if left, err := netns.List(prefix); err != nil || len(left) > 0 {
		t.Errorf("left over: %v %v", left, err)
	}
	if _, err := os.Stat(stateDir); err == nil {
		t.Errorf("%s is left over", stateDir)
	}
	if _, err := Attach(nil); err == nil {
		t.Error("attached to a lab that is down")
	}
	if err := Down(t.Context()); err != nil {
		t.Errorf("taking down what is not up is no error: %v", err)
	}
}

func mustPrefix(t *testing.T, s string) (p netip.Prefix) {
	t.Helper()
	p, err := netip.ParsePrefix(s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

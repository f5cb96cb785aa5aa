package h2

import (
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"

	"nearcast/proxy/message"
)

// large begins two downloads, the second of which has its turn after the first, on a connection whose streams' windows are no limit.
func large(t *testing.T, counted *[]string) (*hits, *session) {
	h := newHits(32 << 20)
	h.keep = true
	x := serve(t, t.Context(), New(h, Config{Pace: message.Pace{Grace: time.Minute, Rate: 1 << 10}, IdleTimeout: time.Minute,
		CountError: func(kind string) { *counted = append(*counted, kind) }}))
	x.noData = true
	_ = x.fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: maxWindow})
	for id := uint32(1); id <= 3; id += 2 {
		x.request(id, "/", true, "priority", "u=3")
		want(t, x.next(), func(r *response) bool { return r.stream == id }, "a response")
	}
	return h, x
}

// TestADownloadThatWaitsForAnother: as long as the client takes that one it does not keep us waiting.
func TestADownloadThatWaitsForAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var counted []string
		h, x := large(t, &counted)
		for range 64<<20/100_000 + 1 { // 100 kB a second: the first takes over five minutes
			time.Sleep(time.Second)
			_ = x.fr.WriteWindowUpdate(0, 100_000)
		}
		synctest.Wait()
		if d := h.ends(); len(d) != 2 || !d[0].complete || !d[1].complete || len(counted) > 0 {
			t.Errorf("the ends were %v, counted %v", d, counted)
		}
		x.Close()
		<-x.done
	})
}

// TestAConnectionWindowThatStaysShut cannot hold streams, nor can a trickle.
func TestAConnectionWindowThatStaysShut(t *testing.T) {
	for name, trickle := range map[string]uint32{"shut": 0, "trickle": 100} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var counted []string
				h, x := large(t, &counted)
				for range 140 { // seconds: 64 were earned with the first 64 KiB
					time.Sleep(time.Second)
					if trickle > 0 {
						_ = x.fr.WriteWindowUpdate(0, trickle)
					}
				}
				synctest.Wait()
				if d := h.ends(); len(d) != 2 || d[0].complete || d[1].complete {
					t.Errorf("the ends were %v", d)
				}
				if len(counted) != 2 || counted[0] != "slow_download" {
					t.Errorf("counted %v", counted)
				}
				x.Close()
				<-x.done
			})
		})
	}
}

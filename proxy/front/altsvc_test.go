package front

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"nearcast/proxy/message"
)

// TestAltSvcIsWhatTheListenerSays: how long, not at all, or no longer; instead of the origin's own, where anything is said.
func TestAltSvcIsWhatTheListenerSays(t *testing.T) {
	h := handlerFunc(func(_ context.Context, w message.ResponseWriter, _ *message.Request) {
		_ = w.WriteHeader(200, message.Fields{{Name: "alt-svc", Value: "the origin's"}}, 0)
	})
	hour, none, no := time.Hour, time.Duration(0), false
	for _, c := range []struct {
		name   string
		listen ListenConfig
		want   string // with %d for the port
	}{
		{"by default a day", ListenConfig{}, `h3=":%d"; ma=86400`},
		{"an hour", ListenConfig{AltSvcMaxAge: &hour}, `h3=":%d"; ma=3600`},
		{"nothing", ListenConfig{AltSvcMaxAge: &none}, "the origin's"},
		{"without HTTP/3", ListenConfig{HTTP3: &no, AltSvcMaxAge: &hour}, "the origin's"},
		{"no longer", ListenConfig{HTTP3: &no, AltSvcClear: true}, "clear"},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.listen.Address, c.listen.TLS = "127.0.0.1:0", true
			pair := writePair(t, t.TempDir(), "site", time.Now().Add(90*24*time.Hour), "example.test")
			e := startListeners(t, h, testLimits(), []ListenConfig{c.listen}, pair)
			want := c.want
			if strings.Contains(want, "%d") {
				want = fmt.Sprintf(want, e.tcp[0].info.Address.Port())
			}
			for _, cl := range []*client{e.h1TLS(), e.h2()} {
				resp, _ := cl.get(t, "/")
				if got := resp.Header.Values("Alt-Svc"); len(got) != 1 || got[0] != want {
					t.Errorf("%s: Alt-Svc %q, want %q", cl.name, got, want)
				}
				cl.close()
			}
		})
	}
}

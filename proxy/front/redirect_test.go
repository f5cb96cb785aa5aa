package front

import (
	"context"
	"fmt"
	"testing"
	"time"

	"nearcast/proxy/message"
)

func TestOnlyARedirectingListenerSendsItsClientsToHTTPS(t *testing.T) {
	pair := writePair(t, t.TempDir(), "site", time.Now().Add(90*24*time.Hour), "example.test")
	ports := handlerFunc(func(_ context.Context, w message.ResponseWriter, r *message.Request) {
		body := fmt.Sprint(r.RedirectPort)
		_ = w.WriteHeader(200, nil, int64(len(body)))
		_, _ = w.Write([]byte(body))
	})
	e := startListeners(t, ports, testLimits(), []ListenConfig{
		{Address: "127.0.0.1:0", TLS: true}, {Address: "127.0.0.1:0", RedirectToHTTPS: true}}, pair)
	for _, c := range e.clients() {
		want := "0"
		if c.url == "http://"+e.addr(plainListener) {
			want = fmt.Sprint(e.tcp[tlsListener].info.Address.Port())
		}
		if _, body := c.get(t, "/"); body != want {
			t.Errorf("%s: port %s, want %s", c.name, body, want)
		}
		c.close()
	}
	if !e.Listeners()[plainListener].Redirect {
		t.Error("the listener is not described as redirecting")
	}
}

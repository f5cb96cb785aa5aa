package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"nearcast/proxy/message"
)

// TestWhoIsToBlameForAnExchangeThatWasCut: the same end of a context is the client's doing, or the edge's own when it stops.
func TestWhoIsToBlameForAnExchangeThatWasCut(t *testing.T) {
	for _, c := range []struct {
		name, path, blame string
		ours              bool
		status            string
	}{
		{"the client leaves before the answer", "/silent", `"blame":"client"`, false, `"status":499`},
		{"the client leaves in the middle of it", "/half", `"blame":"client"`, false, `"status":200`},
		{"the edge stops before the answer", "/silent", `"blame":"edge","reason":"edge stopped"`, true, `"status":503`},
		{"the edge stops in the middle of it", "/half", `"blame":"edge","reason":"edge stopped"`, true, `"status":200`},
		{"the same, of a fetch that others may join", "/half?shared", `"blame":"edge","reason":"edge stopped"`, true, `"status":200`},
	} {
		t.Run(c.name, func(t *testing.T) {
			reached := make(chan struct{}, 1)
			url := originServer(t, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.RawQuery == "shared" {
					w.Header().Set("Cache-Control", "max-age=60")
				}
				if r.URL.Path == "/half" {
					io.WriteString(w, "half")
					w.(http.Flusher).Flush()
				}
				reached <- struct{}{}
				<-r.Context().Done()
			})
			var log strings.Builder
			e := newEdge(t, map[string][]string{"fra": {url}}, func(o *Options, _ *ServiceConfig) {
				o.AccessLog = &log
			})
			server, stop := context.WithCancelCause(t.Context())
			defer stop(nil)
			ctx, leave := context.WithCancel(message.WithServer(t.Context(), server))
			defer leave()
			begun := make(chan struct{}, 1)
			w := &client{wrote: begun}
			done := make(chan struct{})
			go func() {
				defer close(done)
				e.Serve(ctx, w, request("GET", c.path))
			}()
			<-reached
			if strings.HasPrefix(c.path, "/half") {
				<-begun
			}
			if c.ours {
				stop(errors.New("time is up"))
			}
			leave() // when the server cuts a connection, the request's context ends as well
			<-done
			if got := log.String(); !strings.Contains(got, c.blame) || !strings.Contains(got, c.status) || !w.aborted {
				t.Errorf("aborted: %t; want %s and %s in %s", w.aborted, c.blame, c.status, got)
			}
		})
	}
}

// failing is a body that ends with an error.
type failing struct{ err error }

func (f failing) Read(p []byte) (int, error) { return copy(p, "x"), f.err }

func TestAFrontEndSaysWhyABodyEnded(t *testing.T) {
	h := func(_ http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body) }
	for _, url := range []string{originServer(t, h), h2cOrigin(t, h)} {
		for _, c := range []struct {
			err    error
			status int
			reason string
		}{
			{&message.Error{Blame: message.BlameClient, Status: 408, Reason: "request body too slow"}, 408, "request body too slow"},
			{fmt.Errorf("reading: %w", &message.Error{Blame: message.BlameClient, Status: 400, Reason: "malformed request body"}), 400, "malformed request body"},
			{&message.Error{Blame: message.BlameClient, Reason: "connection closed"}, 400, "request body cut"},
			{io.ErrUnexpectedEOF, 400, "request body cut"},
		} {
			var log strings.Builder
			e := newEdge(t, map[string][]string{"fra": {url}}, func(o *Options, _ *ServiceConfig) { o.AccessLog = &log })
			r := request("POST", "/")
			r.Body, r.ContentLength = failing{c.err}, 100_000
			got := e.serve(r)
			if got.status != c.status || !strings.Contains(log.String(), `"blame":"client","reason":"`+c.reason+`"`) {
				t.Errorf("%v: %d, logged %s", c.err, got.status, log.String())
			}
		}
	}
}

package h2

import (
	"strings"
	"testing"
	"testing/synctest"

	"golang.org/x/net/http2"
)

// TestHeaderSectionsOfOneConnection: what is kept of them has a bound of its own, as a few octets in HPACK can stand for many kilobytes.
func TestHeaderSectionsOfOneConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		var counted []string
		x := serve(t, t.Context(), New(waiting(release), Config{MaxStreams: 1000, CountError: func(k string) { counted = append(counted, k) }}))
		big := strings.Repeat("x", 3000)
		var more []string
		for range 20 {
			more = append(more, "big", big)
		}
		const most = headerBudget / 60_000
		refused := 0
		for i := range uint32(most + 10) {
			x.request(1+2*i, "/", true, more...)
		}
		for len(x.frames) > 0 {
			want(t, x.next(), func(r *reset) bool { return r.code == http2.ErrCodeRefusedStream }, "a refusal")
			refused++
		}
		if refused < 10 || refused > 15 || len(counted) != refused || counted[0] != "header_memory" {
			t.Errorf("%d were refused, counted %v", refused, counted)
		}
		close(release)
		synctest.Wait()
		for len(x.frames) > 0 {
			x.next()
		}
		x.request(9001, "/", true, more...)
		want(t, x.next(), func(r *response) bool { return r.status == "200" }, "a response when the others are gone")
		x.Close()
		<-x.done
	})
}

// TestTrailersOfOneConnection count alike.
func TestTrailersOfOneConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		x := serve(t, t.Context(), New(waiting(release), Config{MaxStreams: 1000}))
		const most = headerBudget/60_000 + 2
		for i := range uint32(most) {
			x.request(1+2*i, "/", false)
		}
		for i := range uint32(most) {
			x.block.Reset()
			for range 20 {
				_ = x.enc.WriteField(hf("big", strings.Repeat("x", 3000)))
			}
			_ = x.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1 + 2*i, BlockFragment: x.block.Bytes(), EndHeaders: true, EndStream: true})
		}
		synctest.Wait()
		want(t, x.next(), func(r *reset) bool { return r.code == http2.ErrCodeEnhanceYourCalm }, "a reset")
		close(release)
		x.Close()
		<-x.done
	})
}

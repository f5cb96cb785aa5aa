package demo

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"
)

// originField is the field in which an origin names its region.
const originField = "X-Origin"

// Origin serves a region's origin on listen until ctx ends.
func Origin(ctx context.Context, region, listen string) error {
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	s := &http.Server{Handler: originHandler(region), ReadHeaderTimeout: 10 * time.Second}
	stop := context.AfterFunc(ctx, func() { s.Close() })
	defer stop()
	if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func originHandler(region string) http.Handler {
	page := func(cacheControl string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/plain; charset=utf-8")
			w.Header().Set("Cache-Control", cacheControl)
			fmt.Fprintf(w, "%s from the origin in %s at %s\n", r.URL.Path, region, time.Now().Format("15:04:05.000"))
		}
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, r *http.Request) { fmt.Fprintln(w, "ok") })
	mux.Handle("/{$}", page("no-store"))
	mux.Handle("/dynamic", page("no-store"))
	mux.Handle("/static/", page("max-age=60"))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set(originField, strings.ToLower(region))
		mux.ServeHTTP(w, r)
	})
}

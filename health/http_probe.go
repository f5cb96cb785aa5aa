package health

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"time"
)

// maxProbeBytes bounds what a probe reads of a response, header section and body together.
const maxProbeBytes = 128 << 10

// HTTPProbe returns the probe of an origin: GET path over HTTP/1.1 on a new connection, with the given Host field; the origin's
// own authority when host is "". A response with a 2xx or 3xx status that arrives whole (or goes past 128 KiB) is a success.
//
// The round-trip time is the time of the TCP connection set-up, not of the response: it measures the path and not the work that
// the origin's health check does. The origin is an http:// URL; its path, if any, is ignored.
func HTTPProbe(origin *url.URL, path, host string) Probe {
	addr, authority := originAddress(origin), origin.Host
	if host != "" {
		authority = host
	}
	head := "GET " + path + " HTTP/1.1\r\nHost: " + authority + "\r\nUser-Agent: nearcast-health\r\nAccept: */*\r\nConnection: close\r\n\r\n"
	return func(ctx context.Context) (time.Duration, error) {
		conn, rtt, err := dialTimed(ctx, addr)
		if err != nil {
			return 0, err
		}
		defer conn.Close()
		defer closeWithContext(ctx, conn)()
		resp, err := exchange(conn, head)
		if err != nil {
			return rtt, ctxError(ctx, err)
		}
		return rtt, judge(resp.StatusCode, path)
	}
}

// Ask puts a probe's request to an origin on a connection that was made for it, which it closes, and returns the status of the response
// once that has come whole.
type Ask func(ctx context.Context, conn net.Conn) (status int, err error)

// OriginProbe is HTTPProbe for an origin that is asked in another way than HTTP/1.1 without TLS. addr is its host:port; path is for the
// error's text.
func OriginProbe(addr, path string, ask Ask) Probe {
	return func(ctx context.Context) (time.Duration, error) {
		conn, rtt, err := dialTimed(ctx, addr)
		if err != nil {
			return 0, err
		}
		status, err := ask(ctx, conn)
		if err != nil {
			return rtt, ctxError(ctx, err)
		}
		return rtt, judge(status, path)
	}
}

// judge is nil for a status that an origin in good health answers with.
func judge(status int, path string) error {
	if status < 200 || status > 399 {
		return &Error{ReasonStatus, fmt.Errorf("status %d to GET %s, wanted 2xx or 3xx", status, path)}
	}
	return nil
}

// originAddress is the host and port to connect to.
func originAddress(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = "80"
	}
	return net.JoinHostPort(u.Hostname(), port)
}

// dialTimed connects to the first address that takes the connection and returns how long that took, name resolution apart.
func dialTimed(ctx context.Context, addr string) (net.Conn, time.Duration, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, 0, err
	}
	ips := []netip.Addr{}
	if ip, err := netip.ParseAddr(host); err == nil {
		ips = append(ips, ip)
	} else if ips, err = net.DefaultResolver.LookupNetIP(ctx, "ip", host); err != nil {
		return nil, 0, err
	}
	return dialFirst(ctx, ips, port)
}

// dialFirst tries the addresses in turn. Each gets its share of the time that is left, so that one that swallows packets does not hide
// the others: requests find those too (RFC 8305).
func dialFirst(ctx context.Context, ips []netip.Addr, port string) (net.Conn, time.Duration, error) {
	var errs []error
	for i, ip := range ips {
		var d net.Dialer
		start := time.Now()
		if end, ok := ctx.Deadline(); ok {
			d.Deadline = start.Add(end.Sub(start) / time.Duration(len(ips)-i))
		}
		conn, err := d.DialContext(ctx, "tcp", net.JoinHostPort(ip.Unmap().String(), port))
		if err == nil {
			return conn, time.Since(start), nil
		}
		errs = append(errs, err)
	}
	return nil, 0, errors.Join(errs...)
}

// exchange sends a request's bytes and reads the final response to its end, at most maxProbeBytes.
func exchange(conn net.Conn, request string) (*http.Response, error) {
	if _, err := io.WriteString(conn, request); err != nil {
		return nil, err
	}
	limited := &io.LimitedReader{R: conn, N: maxProbeBytes}
	br := bufio.NewReader(limited)
	for {
		resp, err := http.ReadResponse(br, &http.Request{Method: http.MethodGet})
		if err != nil && limited.N == 0 {
			return nil, errors.New("the response's header section is too large")
		}
		if err != nil {
			return nil, err
		}
		if resp.StatusCode >= 100 && resp.StatusCode < 200 && resp.StatusCode != http.StatusSwitchingProtocols {
			continue // the final response follows (RFC 9110 §15.2)
		}
		_, err = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		if err != nil && limited.N > 0 {
			return nil, err
		}
		return resp, nil
	}
}

// closeWithContext ends what conn is waiting for when ctx ends. The caller calls the function returned when it is done.
func closeWithContext(ctx context.Context, conn net.Conn) (stop func()) {
	s := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	return func() { s() }
}

// ctxError prefers the context's own error: what the connection reports after it was cut short is only the echo.
func ctxError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

package main

import (
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/quic-go/quic-go"

	"nearcast/health"
	"nearcast/internal/config"
)

// hearsNothing is a client's socket that hears nothing: its handshake stays in progress.
type hearsNothing struct{ net.PacketConn }

func (d hearsNothing) ReadFrom(p []byte) (int, net.Addr, error) {
	for {
		if _, _, err := d.PacketConn.ReadFrom(p); err != nil {
			return 0, nil, err
		}
	}
}

// TestAFloodTakesNoRouteBack: as many handshakes are in progress as may be, and the edge's question to its own HTTP/3 listener is still answered. It is from the
// answers to these that a route is taken back.
func TestAFloodTakesNoRouteBack(t *testing.T) {
	const halfOpen = 2
	address := freeAddress(t)
	text := strings.NewReplacer(`"127.0.0.1:8080"`, `"`+freeAddress(t)+`"`, `  - { address: ":80" }`+"\n", "", `  - { address: "[2001:db8:53::1]:443", tls: true }`+"\n", "", `"192.0.2.1:443"`, `"`+address+`"`,
		`"127.0.0.1:9180"`, `"`+freeAddress(t)+`"`, "  manage_addresses: true\n", "  watchdog: 1m\n", "  addresses: [192.0.2.1, \"2001:db8:53::1\"]\n", "",
		"interval: 100ms, timeout: 100ms", "interval: 10s, timeout: 10s").Replace(atServiceAddresses) +
		"limits: { header_timeout: 60s, quic_retry_above: 0, quic_half_open: 2 }\n"
	cfg, err := config.Load(writeConfig(t, text))
	if err != nil {
		t.Fatal(err)
	}
	set := metrics.NewSet()
	e, err := build(cfg, std{io.Discard, io.Discard}, slog.New(slog.DiscardHandler), set)
	if err != nil {
		t.Fatal(err)
	}
	signals, ended := make(chan os.Signal, 2), make(chan error, 1)
	go func() { ended <- e.live(signals) }()
	var clients sync.WaitGroup
	ctx, leave := context.WithCancel(t.Context())
	defer func() {
		leave()
		clients.Wait()
		signals <- syscall.SIGTERM
		signals <- syscall.SIGTERM // at once
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	to, err := net.ResolveUDPAddr("udp", address)
	if err != nil {
		t.Fatal(err)
	}
	for range halfOpen {
		udp, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 9)})
		if err != nil {
			t.Fatal(err)
		}
		clients.Go(func() {
			tr := &quic.Transport{Conn: hearsNothing{udp}}
			_, _ = tr.Dial(ctx, to, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h3"}}, &quic.Config{HandshakeIdleTimeout: time.Minute})
			tr.Close()
			udp.Close()
		})
	}
	inProgress := func() float64 { return set.GetOrCreateGauge("nearcast_quic_half_open", nil).Get() }
	for deadline := time.Now().Add(30 * time.Second); inProgress() != halfOpen; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%v handshakes are in progress", inProgress())
		}
	}
	asked := 0
	for _, target := range e.selfTargets() {
		if target.ID.Protocol != health.H3 {
			continue
		}
		asked++
		ctx, cancel := context.WithTimeout(t.Context(), target.Config.Timeout)
		if _, err := target.Probe(ctx); err != nil {
			t.Errorf("%s: %v", target.ID, err)
		}
		cancel()
	}
	if asked != 1 || inProgress() < halfOpen {
		t.Errorf("%d listeners were asked, %v handshakes are in progress", asked, inProgress())
	}
}

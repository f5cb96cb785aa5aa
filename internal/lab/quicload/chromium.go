package quicload

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"nearcast/internal/lab/browser"
)

// chromium is Debian's, headless, with a page that makes requests. It is told to use QUIC from the first one on, or TCP alone.
type chromium struct{ onlyTCP bool }

func (c chromium) Name() string {
	if c.onlyTCP {
		return "chromium-h2"
	}
	return "chromium"
}

func (chromium) Available() error { return browser.Available() }

func (c chromium) Start(ctx context.Context, t Target) (Run, error) {
	p, err := c.open(ctx, &t)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.Name(), err)
	}
	run, err := startPage(ctx, p, t)
	if err != nil {
		return nil, fmt.Errorf("%s: %w (see %s)", c.Name(), err, t.Log)
	}
	return run, nil
}

// Move is part of Mover.
func (c chromium) Move(ctx context.Context, t Target, d Direction, size int64) (Transfer, error) {
	if err := checkTransfer(d, size); err != nil {
		return Transfer{}, err
	}
	p, err := c.open(ctx, &t)
	if err != nil {
		return Transfer{}, fmt.Errorf("%s: %w", c.Name(), err)
	}
	return movePage(ctx, p, t, d, size)
}

// open starts a browser and leads it to a page of the host's.
func (c chromium) open(ctx context.Context, t *Target) (page, error) {
	if err := t.complete(); err != nil {
		return nil, err
	}
	if t.Port != 443 {
		return nil, errors.New("it can be told to use QUIC on port 443 alone")
	}
	dir, err := os.MkdirTemp(t.Dir, "chromium-")
	if err != nil {
		return nil, err
	}
	b, err := browser.Start(ctx, browser.Config{Namespace: t.Namespace, Dir: dir, Log: t.Log, Host: t.Host, Address: t.Address,
		KeyHashes: t.KeyHashes, OnlyTCP: c.onlyTCP})
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	p := &chromiumPage{b, dir}
	if err := b.Go(ctx, t.url()); err != nil {
		return nil, errors.Join(err, p.close())
	}
	return p, nil
}

type chromiumPage struct {
	browser *browser.Browser
	dir     string
}

func (p *chromiumPage) evaluate(ctx context.Context, expression string) (json.RawMessage, error) {
	return p.browser.Evaluate(ctx, expression)
}

func (p *chromiumPage) close() error {
	p.browser.Close()
	return os.RemoveAll(p.dir)
}

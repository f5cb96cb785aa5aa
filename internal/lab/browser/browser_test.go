package browser

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// devTools is the other end of a pipe: it answers each command with what handle returns, after an event that is nobody's.
func devTools(t *testing.T, handle func(request) string) *pipe {
	t.Helper()
	commandsOut, commandsIn := io.Pipe()
	repliesOut, repliesIn := io.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer repliesIn.Close()
		commands := bufio.NewScanner(commandsOut)
		commands.Split(splitZero)
		for commands.Scan() {
			var r request
			if err := json.Unmarshal(commands.Bytes(), &r); err != nil {
				t.Errorf("command %q: %v", commands.Text(), err)
			}
			answer := handle(r)
			if answer == "hang up" {
				return
			}
			_, _ = fmt.Fprintf(repliesIn, "{\"method\":\"Some.event\"}\x00not json\x00{\"id\":%d,%s}\x00", r.ID, answer)
		}
	}()
	p := newPipe(commandsIn, repliesOut)
	t.Cleanup(func() { commandsOut.Close(); commandsIn.Close(); <-done; <-p.done })
	return p
}

func TestPipe(t *testing.T) {
	p := devTools(t, func(r request) string {
		switch r.Method {
		case "good":
			return `"result":{"session":"` + r.Session + `"}`
		case "bad":
			return `"error":{"code":-32601,"message":"no such method"}`
		}
		return "hang up"
	})
	var got struct{ Session string }
	if err := p.call(t.Context(), "S1", "good", map[string]any{"a": 1}, &got); err != nil || got.Session != "S1" {
		t.Errorf("good: %+v %v", got, err)
	}
	if err := p.call(t.Context(), "", "bad", nil, nil); err == nil || !strings.Contains(err.Error(), "no such method") {
		t.Errorf("bad: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := p.call(ctx, "", "end", nil, nil); !errors.Is(err, errClosed) {
		t.Errorf("a browser that goes away: %v", err)
	}
	if len(p.waiting) != 0 {
		t.Errorf("%d calls still wait", len(p.waiting))
	}
}

func FuzzSplitZero(f *testing.F) {
	f.Add([]byte("a\x00bc\x00\x00d"))
	f.Fuzz(func(t *testing.T, data []byte) {
		s := bufio.NewScanner(strings.NewReader(string(data)))
		s.Split(splitZero)
		var got []string
		for s.Scan() {
			got = append(got, s.Text())
		}
		all := strings.Split(string(data), "\x00")
		if s.Err() == nil && !slices.Equal(got, all[:len(all)-1]) {
			t.Errorf("%q split into %q", data, got)
		}
	})
}

func TestArguments(t *testing.T) {
	args := arguments(Config{Dir: "/p", Host: "www.lab.example", Address: netip.MustParseAddr("192.0.2.1"), KeyHashes: []string{"a=", "b="}})
	for _, want := range []string{"--origin-to-force-quic-on=www.lab.example:443", "--ignore-certificate-errors-spki-list=a=,b=",
		"--host-resolver-rules=MAP www.lab.example 192.0.2.1, MAP * ~NOTFOUND", "--user-data-dir=/p", "--remote-debugging-pipe"} {
		if !slices.Contains(args, want) {
			t.Errorf("no %s in %q", want, args)
		}
	}
	if slices.Contains(args, "--disable-quic") {
		t.Error("QUIC is off")
	}
	args = arguments(Config{Host: "www.lab.example", Address: netip.MustParseAddr("2001:db8::1"), OnlyTCP: true})
	if slices.Contains(args, "--enable-quic") || !slices.Contains(args, "--disable-quic") {
		t.Errorf("QUIC is on: %q", args)
	}
	if want := "--host-resolver-rules=MAP www.lab.example [2001:db8::1], MAP * ~NOTFOUND"; !slices.Contains(args, want) {
		t.Errorf("no %s in %q", want, args)
	}
}

// The real browser starts, shows a page of a file, and is gone afterwards.
func TestRealBrowser(t *testing.T) {
	if err := Available(); err != nil {
		t.Skipf("needs %v", err)
	}
	dir := t.TempDir()
	page := filepath.Join(dir, "page.html")
	text := `<title>x</title><b id=region>tyo</b><script>addEventListener("load", () => { document.title = "loaded" })</script>`
	if err := os.WriteFile(page, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	b, err := Start(ctx, Config{Dir: filepath.Join(dir, "profile"), Log: filepath.Join(dir, "log"), Host: "www.lab.example", Address: netip.MustParseAddr("127.0.0.1")})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if got, err := b.Load(ctx, "file://"+page); err != nil || got.Region != "tyo" {
		t.Errorf("%+v %v", got, err)
	}
	if got, err := b.Evaluate(ctx, "new Promise(ok => setTimeout(ok, 1, {a: [1, 2]}))"); err != nil || string(got) != `{"a":[1,2]}` {
		t.Errorf("a promise: %s %v", got, err)
	}
	if got, err := b.Evaluate(ctx, "nothing.of.the.kind"); err == nil || !strings.Contains(err.Error(), "nothing is not defined") {
		t.Errorf("an exception: %s %v", got, err)
	}
	if _, err := b.Load(ctx, "https://nowhere.example/"); err == nil || !strings.Contains(err.Error(), "ERR_NAME_NOT_RESOLVED") {
		t.Errorf("a name that does not resolve: %v", err)
	}
}

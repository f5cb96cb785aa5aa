// Package browser drives a headless Chromium inside a network namespace, to learn what a real browser does with an edge.
package browser

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"nearcast/internal/lab/netns"
	"nearcast/internal/lab/process"
)

// Program is the browser's name, as Debian has it.
const Program = "chromium"

// Available returns an error that says what to install when there is no browser.
func Available() error {
	if _, err := exec.LookPath(Program); err != nil {
		return fmt.Errorf("%s (Debian package chromium)", Program)
	}
	return nil
}

// Config says where the browser stands and whom it trusts.
type Config struct {
	Namespace netns.Namespace
	Dir       string // for its profile; empty and the browser's own
	Log       string // file for its messages
	Host      string // the only name that resolves
	Address   netip.Addr
	KeyHashes []string // base64 SHA-256 of the public keys to trust without an authority
	OnlyTCP   bool     // no QUIC, not even where it is offered
}

// Browser is a running browser with one tab.
type Browser struct {
	cmd     *exec.Cmd
	pipe    *pipe
	files   []*os.File
	session string
}

// Page is what a loaded page says of itself.
type Page struct {
	Protocol string `json:"protocol"` // the browser's own word for it, such as h3
	Region   string `json:"region"`   // of the origin
}

// arguments are the browser's. QUIC is used from the first request, or the first would go over TCP to learn that it may.
func arguments(cfg Config) []string {
	protocol := []string{"--enable-quic", "--origin-to-force-quic-on=" + cfg.Host + ":443"}
	if cfg.OnlyTCP {
		protocol = []string{"--disable-quic"}
	}
	return append(protocol,
		"--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-sync",
		"--disable-background-networking", "--disable-component-update", "--disable-default-apps", "--disable-extensions",
		"--remote-debugging-pipe", "--user-data-dir="+cfg.Dir,
		fmt.Sprintf("--host-resolver-rules=MAP %s %s, MAP * ~NOTFOUND", cfg.Host, literal(cfg.Address)),
		"--ignore-certificate-errors-spki-list="+strings.Join(cfg.KeyHashes, ","),
		"about:blank",
	)
}

// literal is an address as a URL has it.
func literal(a netip.Addr) string {
	if a.Is6() {
		return "[" + a.String() + "]"
	}
	return a.String()
}

// Start starts a browser. The caller closes it.
func Start(ctx context.Context, cfg Config) (*Browser, error) {
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, err
	}
	commandsOut, commandsIn, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	repliesOut, repliesIn, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, commandsOut.Close(), commandsIn.Close())
	}
	log, err := os.OpenFile(cfg.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err == nil {
		cmd := exec.Command(Program, arguments(cfg)...)
		cmd.Env = append(os.Environ(), process.Mark, "HOME="+cfg.Dir)
		cmd.Stdout, cmd.Stderr = log, log
		cmd.ExtraFiles = []*os.File{commandsOut, repliesIn} // descriptors 3 and 4
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		if err = cfg.Namespace.Start(cmd); err == nil {
			b := &Browser{cmd: cmd, pipe: newPipe(commandsIn, repliesOut), files: []*os.File{commandsIn, repliesOut}}
			_, _, _ = log.Close(), commandsOut.Close(), repliesIn.Close()
			if err := b.openTab(ctx); err != nil {
				b.Close()
				return nil, fmt.Errorf("browser: %w (see %s)", err, cfg.Log)
			}
			return b, nil
		}
		_ = log.Close()
	}
	return nil, errors.Join(err, commandsOut.Close(), commandsIn.Close(), repliesOut.Close(), repliesIn.Close())
}

func (b *Browser) openTab(ctx context.Context) error {
	var target struct {
		ID string `json:"targetId"`
	}
	if err := b.pipe.call(ctx, "", "Target.createTarget", map[string]any{"url": "about:blank"}, &target); err != nil {
		return err
	}
	var attached struct {
		Session string `json:"sessionId"`
	}
	err := b.pipe.call(ctx, "", "Target.attachToTarget", map[string]any{"targetId": target.ID, "flatten": true}, &attached)
	b.session = attached.Session
	return err
}

// question asks the page that is there now, which writes "loaded" into its title when its own timing is complete.
const question = `document.title !== "loaded" ? "" : JSON.stringify({
	protocol: performance.getEntriesByType("navigation")[0].nextHopProtocol,
	region: document.getElementById("region").textContent,
})`

// Load loads a page of the lab's origin and returns what it says once it is complete.
func (b *Browser) Load(ctx context.Context, url string) (Page, error) {
	var page Page
	if err := b.Go(ctx, url); err != nil {
		return page, err
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		var answer string
		data, err := b.Evaluate(ctx, question)
		if err == nil {
			err = json.Unmarshal(data, &answer)
		}
		if err != nil {
			return page, fmt.Errorf("load %s: %w", url, err)
		}
		if answer != "" {
			return page, json.Unmarshal([]byte(answer), &page)
		}
		select {
		case <-ctx.Done():
			return page, fmt.Errorf("load %s: the page is not complete: %w", url, context.Cause(ctx))
		case <-tick.C:
		}
	}
}

// Go leads the tab to a page. It returns when the page has begun, which a script that is evaluated next can rely on.
func (b *Browser) Go(ctx context.Context, url string) error {
	var went struct {
		Error string `json:"errorText"`
	}
	if err := b.pipe.call(ctx, b.session, "Page.navigate", map[string]any{"url": url}, &went); err != nil {
		return err
	}
	if went.Error != "" {
		return fmt.Errorf("load %s: %s", url, went.Error)
	}
	return nil
}

// Evaluate returns the value of an expression in the page, as JSON. If it is a promise, its value is that of what it promises.
func (b *Browser) Evaluate(ctx context.Context, expression string) (json.RawMessage, error) {
	var answer struct {
		Result struct {
			Value       json.RawMessage `json:"value"`
			Description string          `json:"description"`
		} `json:"result"`
		Exception *struct{} `json:"exceptionDetails"`
	}
	params := map[string]any{"expression": expression, "returnByValue": true, "awaitPromise": true}
	if err := b.pipe.call(ctx, b.session, "Runtime.evaluate", params, &answer); err != nil {
		return nil, err
	}
	if answer.Exception != nil {
		return nil, fmt.Errorf("the page's script: %s", answer.Result.Description)
	}
	return answer.Result.Value, nil
}

// Close ends the browser with all its processes and waits for it.
func (b *Browser) Close() {
	const grace = 2 * time.Second
	ctx, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	if b.pipe.call(ctx, "", "Browser.close", nil, nil) == nil {
		select {
		case <-b.pipe.done: // its end of the pipe is closed, so it is on its way out
		case <-ctx.Done():
		}
	}
	_ = syscall.Kill(-b.cmd.Process.Pid, syscall.SIGKILL) // the group; its leader is not reaped yet, so the number is its own
	_ = b.cmd.Wait()
	for _, f := range b.files {
		_ = f.Close()
	}
	<-b.pipe.done
}

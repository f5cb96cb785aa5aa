package quicload

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"nearcast/internal/lab/process"
)

// firefox is Debian's extended support release, headless, with a page that makes requests. It knows from the first one on that the host has
// HTTP/3.
type firefox struct{}

const firefoxProgram = "firefox-esr"

func (firefox) Name() string     { return "firefox" }
func (firefox) Available() error { return installed(firefoxProgram, "firefox-esr") }

func (f firefox) Start(ctx context.Context, t Target) (Run, error) {
	p, err := f.open(ctx, &t)
	if err != nil {
		return nil, fmt.Errorf("firefox: %w (see %s)", err, t.Log)
	}
	run, err := startPage(ctx, p, t)
	if err != nil {
		return nil, fmt.Errorf("firefox: %w (see %s)", err, t.Log)
	}
	return run, nil
}

// Move is part of Mover.
func (f firefox) Move(ctx context.Context, t Target, d Direction, size int64) (Transfer, error) {
	if err := checkTransfer(d, size); err != nil {
		return Transfer{}, err
	}
	p, err := f.open(ctx, &t)
	if err != nil {
		return Transfer{}, fmt.Errorf("firefox: %w (see %s)", err, t.Log)
	}
	return movePage(ctx, p, t, d, size)
}

// preferences make it use HTTP/3 with an authority that is not Mozilla's, tell the time exactly, and leave the network alone otherwise.
func preferences(t *Target) string {
	var b strings.Builder
	for _, p := range []struct {
		name  string
		value any
	}{
		{"marionette.port", 0},
		{"network.http.http3.alt-svc-mapping-for-testing", fmt.Sprintf("%s;h3=:%d", t.Host, t.Port)},
		{"network.http.http3.disable_when_third_party_roots_found", false},
		{"network.trr.mode", 5},
		{"network.proxy.type", 0},
		{"network.captive-portal-service.enabled", false},
		{"network.connectivity-service.enabled", false},
		{"network.prefetch-next", false},
		{"privacy.reduceTimerPrecision", false},
		{"app.normandy.enabled", false},
		{"app.update.disabledForTesting", true},
		{"browser.safebrowsing.update.enabled", false},
		{"browser.shell.checkDefaultBrowser", false},
		{"browser.startup.page", 0},
		{"datareporting.policy.dataSubmissionEnabled", false},
		{"extensions.update.enabled", false},
		{"security.OCSP.enabled", 0},
		{"toolkit.telemetry.server", ""},
	} {
		value, _ := json.Marshal(p.value) // these have a form in JSON
		fmt.Fprintf(&b, "user_pref(%q, %s);\n", p.name, value)
	}
	return b.String()
}

// trustScript runs in Firefox itself: it trusts an authority, and resolves one name.
const trustScript = `
Cc["@mozilla.org/security/x509certdb;1"].getService(Ci.nsIX509CertDB).addCertFromBase64(arguments[0], "C,,");
Cc["@mozilla.org/network/native-dns-override;1"].getService(Ci.nsINativeDNSResolverOverride).addIPOverride(arguments[1], arguments[2]);`

func (firefox) open(ctx context.Context, t *Target) (page, error) {
	if err := t.complete(); err != nil {
		return nil, err
	}
	authority, err := authorityText(t.Authority)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(t.Dir, "firefox-")
	if err != nil {
		return nil, err
	}
	p := &firefoxPage{dir: dir}
	err = p.start(ctx, t)
	if err == nil {
		err = p.prepare(ctx, t, authority)
	}
	if err != nil {
		return nil, errors.Join(err, p.close())
	}
	return p, nil
}

// authorityText is the certificate in a PEM file, as DER in base64.
func authorityText(file string) (string, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	block, _ := pem.Decode(data)
	if block == nil || block.Type != "CERTIFICATE" {
		return "", fmt.Errorf("%s does not begin with a certificate", file)
	}
	return base64.StdEncoding.EncodeToString(block.Bytes), nil
}

// firefoxPage is a running Firefox with a page in its one tab.
type firefoxPage struct {
	dir    string
	cmd    *exec.Cmd // nil before the start, as are the others
	remote *marionette
	*socketWatch
}

// start starts the program and connects to it.
func (p *firefoxPage) start(ctx context.Context, t *Target) error {
	if err := os.WriteFile(filepath.Join(p.dir, "user.js"), []byte(preferences(t)), 0o600); err != nil {
		return err
	}
	log, err := os.OpenFile(t.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(firefoxProgram, "--headless", "--no-remote", "--marionette", "--remote-allow-system-access", "--profile", p.dir, "about:blank")
	// A crash reporter would be a process outside the group.
	cmd.Env = append(os.Environ(), process.Mark, "HOME="+p.dir, "MOZ_CRASHREPORTER_DISABLE=1", "MOZ_HEADLESS=1")
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := t.Namespace.Start(cmd); err != nil {
		return err
	}
	p.cmd, p.socketWatch = cmd, watchSockets(cmd.Process.Pid)
	port, err := awaitPort(ctx, filepath.Join(p.dir, "MarionetteActivePort"))
	if err != nil {
		return err
	}
	conn, err := t.Namespace.DialContext(ctx, "tcp4", "127.0.0.1:"+strconv.Itoa(port))
	if err != nil {
		return err
	}
	p.remote, err = newMarionette(ctx, conn)
	return err
}

// awaitPort waits for the file in which Firefox says where it listens.
func awaitPort(ctx context.Context, file string) (port int, err error) {
	err = poll(ctx, func() (bool, error) {
		data, err := os.ReadFile(file)
		if errors.Is(err, fs.ErrNotExist) {
			return false, nil
		}
		if err != nil || len(data) == 0 {
			return false, err
		}
		port, err = strconv.Atoi(strings.TrimSpace(string(data)))
		return true, err
	})
	if err != nil {
		return 0, fmt.Errorf("it does not listen for commands: %w", err)
	}
	return port, nil
}

// prepare leads the tab to a page of the host's.
func (p *firefoxPage) prepare(ctx context.Context, t *Target, authority string) error {
	none := map[string]any{}
	session := map[string]any{"capabilities": map[string]any{"alwaysMatch": map[string]any{
		"timeouts": map[string]any{"script": nil, "pageLoad": requestTime.Milliseconds()}, "pageLoadStrategy": "normal"}}}
	for _, c := range []struct {
		name   string
		params map[string]any
	}{
		{"WebDriver:NewSession", session},
		{"Marionette:SetContext", map[string]any{"value": "chrome"}},
		{"WebDriver:ExecuteScript", map[string]any{"script": trustScript, "args": []string{authority, t.Host, t.Address.String()}}},
		{"Marionette:SetContext", map[string]any{"value": "content"}},
		{"WebDriver:Navigate", map[string]any{"url": t.url()}},
	} {
		if c.params == nil {
			c.params = none
		}
		if err := p.remote.call(ctx, c.name, c.params, nil); err != nil {
			return err
		}
	}
	return nil
}

func (p *firefoxPage) evaluate(ctx context.Context, expression string) (json.RawMessage, error) {
	var answer struct {
		Value json.RawMessage `json:"value"`
	}
	err := p.remote.call(ctx, "WebDriver:ExecuteScript", map[string]any{"script": "return (" + expression + ")", "args": []any{}}, &answer)
	return answer.Value, err
}

// close ends Firefox, which may take a while to write its profile, by force, and removes that.
func (p *firefoxPage) close() error {
	if p.remote != nil {
		_ = p.remote.close()
	}
	if p.cmd != nil {
		_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) // the group; its leader is not reaped yet, so the number is its own
		_ = p.cmd.Wait()
		p.stop()
	}
	return removeAll(p.dir)
}

// removeAll removes a directory that processes which are being killed may still write to.
func removeAll(dir string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	var err error
	_ = poll(ctx, func() (bool, error) { err = os.RemoveAll(dir); return err == nil, nil })
	return err
}

package admin

import (
	"bufio"
	"cmp"
	"io"
	"strings"
)

// writeHelp copies metrics in Prometheus text form and puts the text into the HELP lines: the metrics library writes them without one.
// A family without text in help keeps its bare line, which is valid.
func writeHelp(w io.Writer, r io.Reader, help map[string]string) error {
	in := bufio.NewScanner(r)
	in.Buffer(make([]byte, 0, 64<<10), 1<<20)
	out := bufio.NewWriter(w)
	for in.Scan() {
		line := in.Text()
		if name, ok := strings.CutPrefix(line, "# HELP "); ok {
			name = strings.TrimSpace(name)
			if text := cmp.Or(help[name], libraryHelp(name)); text != "" {
				line = "# HELP " + name + " " + escapeHelp.Replace(text)
			}
		}
		out.WriteString(line)
		out.WriteByte('\n')
	}
	if err := in.Err(); err != nil {
		return err
	}
	return out.Flush()
}

// libraryHelp says where the metrics come from that the library adds by itself.
func libraryHelp(name string) string {
	switch {
	case strings.HasPrefix(name, "go_"):
		return "Of the Go runtime (package runtime/metrics)."
	case strings.HasPrefix(name, "process_"):
		return "Of this process, as the kernel counts it (/proc)."
	}
	return ""
}

var escapeHelp = strings.NewReplacer(`\`, `\\`, "\n", `\n`)

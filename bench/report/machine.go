package report

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Machine is where a measurement was made.
type Machine struct {
	CPU    string  `json:"cpu"`
	Cores  int     `json:"cores"`
	Memory float64 `json:"memory_gib"`
	Kernel string  `json:"kernel"`
	Load   string  `json:"load_average"` // when the measurement began: others' work spoils it
	Go     string  `json:"go"`
}

// Words are the machine in a sentence.
func (m Machine) Words() string {
	return fmt.Sprintf("%s, %d cores, %.1f GiB, %s, %s; load average before: %s.", m.CPU, m.Cores, m.Memory, m.Kernel, m.Go, m.Load)
}

// ThisMachine reads what there is to know here. What cannot be read stays "unknown" or 0. cores is how many a program may use that was not
// pinned.
func ThisMachine(cores int) Machine {
	m := Machine{CPU: "unknown", Cores: cores, Kernel: "unknown", Load: "unknown", Go: runtime.Version()}
	if data, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		m.CPU = valueOf(string(data), "model name", "unknown")
	}
	if data, err := os.ReadFile("/proc/meminfo"); err == nil {
		kib, _ := strconv.ParseFloat(strings.TrimSuffix(valueOf(string(data), "MemTotal", "0"), " kB"), 64)
		m.Memory = float64(int(kib/(1<<20)*10+0.5)) / 10
	}
	if data, err := os.ReadFile("/proc/loadavg"); err == nil {
		if f := strings.Fields(string(data)); len(f) > 3 {
			m.Load = strings.Join(f[:3], " ")
		}
	}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		m.Kernel = text(u.Sysname[:]) + " " + text(u.Release[:]) + " " + text(u.Machine[:])
	}
	return m
}

// valueOf is the value of the first "name : value" line.
func valueOf(lines, name, otherwise string) string {
	for line := range strings.Lines(lines) {
		if n, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(n) == name {
			return strings.TrimSpace(value)
		}
	}
	return otherwise
}

func text(b []byte) string {
	b, _, _ = bytes.Cut(b, []byte{0})
	return string(b)
}

// Commit is the commit that this program was built from, with "+" when there were changes besides; "" when the program does not know.
func Commit() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	commit, changed := "", ""
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			commit = s.Value[:min(12, len(s.Value))]
		case "vcs.modified":
			if s.Value == "true" {
				changed = "+"
			}
		}
	}
	if commit == "" {
		return ""
	}
	return commit + changed
}

package load

import (
	"bytes"
	"errors"
	"os"
	"path"
	"strconv"
	"strings"
)

// maxDepth bounds the cgroups that one stands in.
const maxDepth = 32

// cgroups finds the directories of this process's cgroup (version 2) and of those that it is in: a limit of each of them holds. root is what all
// paths are below; "" but in tests.
func cgroups(root string) ([]string, error) {
	own, err := os.ReadFile(root + "/proc/self/cgroup")
	if err != nil {
		return nil, err
	}
	mounts, err := os.ReadFile(root + "/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	dirs, err := cgroupDirs(own, mounts)
	for i := range dirs {
		dirs[i] = root + dirs[i]
	}
	return dirs, err
}

var errNoCgroup = errors.New("no cgroup of version 2")

// cgroupDirs reads /proc/self/cgroup (cgroups(7)) and /proc/self/mountinfo (proc_pid_mountinfo(5)). The cgroup itself comes first.
func cgroupDirs(own, mounts []byte) ([]string, error) {
	var name string
	for line := range bytes.Lines(own) {
		if s, ok := strings.CutPrefix(strings.TrimSuffix(string(line), "\n"), "0::"); ok {
			name = s
		}
	}
	if !strings.HasPrefix(name, "/") || path.Clean(name) != name { // one above the namespace's root has ".." in its name
		return nil, errNoCgroup
	}
	for line := range bytes.Lines(mounts) {
		root, point, ok := cgroupMount(string(line))
		if !ok {
			continue
		}
		below, ok := within(name, root)
		if !ok {
			continue
		}
		dirs := []string{}
		for d := path.Join(point, below); len(dirs) < maxDepth; d = path.Dir(d) {
			if dirs = append(dirs, d); d == point || d == "/" {
				break
			}
		}
		return dirs, nil
	}
	return nil, errNoCgroup
}

// cgroupMount is what a line of mountinfo says of a mount of cgroup2: which cgroup is its root, and where it is.
func cgroupMount(line string) (root, point string, ok bool) {
	mount, fs, ok := strings.Cut(line, " - ")
	fields, kind := strings.Fields(mount), strings.Fields(fs)
	if !ok || len(fields) < 6 || len(kind) < 1 || kind[0] != "cgroup2" {
		return "", "", false
	}
	root, point = unescape(fields[3]), unescape(fields[4])
	return root, point, path.IsAbs(root) && path.IsAbs(point) && path.Clean(point) == point
}

// within is a path without the directory that it is in.
func within(p, dir string) (rest string, ok bool) {
	if dir == "/" {
		return p, true
	}
	rest, ok = strings.CutPrefix(p, dir)
	return rest, ok && (rest == "" || rest[0] == '/')
}

// unescape undoes the octal escapes of mountinfo.
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

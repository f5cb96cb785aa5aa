package load

import (
	"path"
	"slices"
	"strings"
	"testing"
)

const ownMount = "30 23 0:26 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"

func TestTheCgroupsThatTheProcessIsIn(t *testing.T) {
	for _, tt := range []struct {
		why, own, mounts string
		want             []string
	}{
		{"a service", "0::/system.slice/nearcast.service\n", ownMount,
			[]string{"/sys/fs/cgroup/system.slice/nearcast.service", "/sys/fs/cgroup/system.slice", "/sys/fs/cgroup"}},
		{"a namespace of its own", "0::/\n", ownMount, []string{"/sys/fs/cgroup"}},
		{"version 1 beside it", "4:memory:/a\n0::/b\n", "29 23 0:25 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n" +
			strings.Replace(ownMount, "/sys/fs/cgroup", "/sys/fs/cgroup/unified", 1), []string{"/sys/fs/cgroup/unified/b", "/sys/fs/cgroup/unified"}},
		{"a part of the tree is mounted", "0::/docker/abc\n", "30 23 0:26 /docker/abc /sys/fs/cgroup ro - cgroup2 cgroup rw\n", []string{"/sys/fs/cgroup"}},
		{"another part is", "0::/docker/abcd\n", "30 23 0:26 /docker/abc /sys/fs/cgroup ro - cgroup2 cgroup rw\n", nil},
		{"above the namespace's root", "0::/../x\n", ownMount, nil},
		{"version 1 alone", "4:memory:/a\n", "29 23 0:25 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n", nil},
		{"not mounted", "0::/a\n", "", nil},
		{"a space in its path", "0::/a\n", `30 23 0:26 / /mnt/a\040b rw - cgroup2 x rw` + "\n", []string{"/mnt/a b/a", "/mnt/a b"}},
		{"nothing", "", "", nil},
	} {
		got, err := cgroupDirs([]byte(tt.own), []byte(tt.mounts))
		if !slices.Equal(got, tt.want) || (err == nil) != (tt.want != nil) {
			t.Errorf("%s: %q, %v; want %q", tt.why, got, err, tt.want)
		}
	}
}

func FuzzCgroupDirs(f *testing.F) {
	f.Add([]byte("0::/a/b\n"), []byte(ownMount))
	f.Add([]byte("0::/\n"), []byte(`30 23 0:26 / /mnt/a\040b rw - cgroup2 x rw`+"\n"))
	f.Add([]byte("0::/a/../b\n"), []byte("30 23 0:26 / // rw - cgroup2 x rw\n"))
	f.Fuzz(func(t *testing.T, own, mounts []byte) {
		dirs, err := cgroupDirs(own, mounts)
		if (len(dirs) > 0) != (err == nil) || len(dirs) > maxDepth {
			t.Errorf("%q, %v", dirs, err)
		}
		for i, d := range dirs {
			if !path.IsAbs(d) || path.Clean(d) != d || i > 0 && path.Dir(dirs[i-1]) != d {
				t.Errorf("%q", dirs)
			}
		}
	})
}

package config

import (
	"errors"
	"strings"
	"testing"
)

// minimal is the least that is valid, section by section.
var minimal = []string{
	"version: 1",
	"edge: {name: e-1}",
	`listen: [{address: ":80"}]`,
	`services: {s: {hosts: ["*"], origins: {here: ["http://10.0.0.1"]}}}`,
}

// complete adds to a fragment the sections that it needs to be valid and does not have.
func complete(fragment string) string {
	if fragment != "" && !strings.HasSuffix(fragment, "\n") {
		fragment += "\n"
	}
	for _, section := range minimal {
		key, _, _ := strings.Cut(section, ":")
		if !strings.HasPrefix(fragment, key+":") && !strings.Contains(fragment, "\n"+key+":") {
			fragment += section + "\n"
		}
	}
	return fragment
}

// faults parses a fragment, completed, and returns its errors, each in one line without the file's name.
func faults(t *testing.T, fragment string) []string {
	t.Helper()
	_, err := Parse("f", []byte(complete(fragment)))
	return lines(t, err)
}

func lines(t *testing.T, err error) (list []string) {
	t.Helper()
	if err == nil {
		return nil
	}
	var errs Errors
	if !errors.As(err, &errs) || len(errs) == 0 {
		t.Fatalf("%T is not Errors: %v", err, err)
	}
	for i := range errs {
		list = append(list, strings.TrimPrefix(errs[i].Error(), "f:"))
	}
	return list
}

// row is a fragment and what must be said of it: the beginning of each error, in order.
type row struct {
	why, fragment string
	want          []string
}

func check(t *testing.T, rows []row) {
	t.Helper()
	for _, r := range rows {
		t.Run(r.why, func(t *testing.T) {
			got := faults(t, r.fragment)
			ok := len(got) == len(r.want)
			for i := 0; ok && i < len(got); i++ {
				ok = strings.HasPrefix(got[i], r.want[i])
			}
			if !ok {
				t.Errorf("%s\ngot:\n  %s\nwant:\n  %s", r.fragment, strings.Join(got, "\n  "), strings.Join(r.want, "\n  "))
			}
		})
	}
}

func TestMinimal(t *testing.T) {
	c, err := Parse("f", []byte(complete("")))
	if err != nil {
		t.Fatal(err)
	}
	if c.Anycast != nil {
		t.Error("a file without an anycast section announces")
	}
	if c.Limits.MaxStreams != 128 || c.Shutdown.Settle == 0 || c.Services["s"].Health.Rise != 2 || c.Cache.Memory != 256<<20 {
		t.Errorf("sections that the file leaves out have no defaults: %+v", c)
	}
	if c.Admin.Address != "" || c.Geo.DatabaseFile != "" {
		t.Error("an admin listener or a database by default")
	}
}

package modeltest

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"nearcast/proxy/message"
)

// ourCodings are those that stored responses may be coded with.
var ourCodings = []string{"br", "gzip", "zstd"}

// accepted are the codings that a request accepts (RFC 9110 §12.5.3), in order of their names.
func accepted(lines []string) (codings []string) {
	members, _ := List(lines)
	for _, m := range members {
		name, weight, _ := strings.Cut(strings.ToLower(strings.ReplaceAll(m, " ", "")), ";")
		if !slices.Contains([]string{"q=0", "q=0.0"}, weight) && name != "identity" {
			codings = append(codings, name)
		}
	}
	slices.Sort(codings)
	return codings
}

// codedTag is the entity tag that a response has in a coding: not the one that it has without (RFC 9110 §8.8.3.3).
func codedTag(tag, coding string) string { return strings.TrimSuffix(tag, `"`) + "~" + coding + `"` }

// coded is resp in the coding that the client got it in.
func (m *Model) coded(x *Exchange, resp *Response, stored bool) (*Response, error) {
	r, a := x.Request, &x.Answer
	kind := resp.Fields.Get("content-type")
	if resp.updated && a.Fields.Has("content-type") { // whether a 304 changes it is open
		kind = a.Fields.Get("content-type")
	}
	text := resp.Status == 200 && (strings.HasPrefix(kind, "text/") || resp.updated && a.Status == 304)
	if stored && text && a.Status == 200 && (m.Policy.MaxObject == 0 || len(resp.Body) <= m.Policy.MaxObject) && !noTransform(resp.Fields) && !varies(a.Fields) {
		return nil, errors.New("RFC 9110 §12.5.5: it may be had in codings, and Vary does not say so")
	}
	coding := a.Coding
	if tag, ok := One(resp.Fields, "etag"); ok && a.Status == 304 { // a 304 tells its coding by the tag alone
		for _, c := range ourCodings {
			if a.Fields.Get("etag") == codedTag(tag, c) {
				coding = c
			}
		}
	}
	switch {
	case coding == "":
		return resp, nil
	case !text, a.Status != 200 && a.Status != 304:
		return nil, fmt.Errorf("coding %s of what is not coded", coding)
	case !slices.Contains(accepted(Lines(r.Fields, "accept-encoding")), coding):
		return nil, fmt.Errorf("RFC 9110 §12.5.3: coding %s is not accepted", coding)
	case noTransform(r.Fields), noTransform(resp.Fields):
		return nil, fmt.Errorf("RFC 9111 §5.2.2.6: coding %s in spite of no-transform", coding)
	case !varies(a.Fields):
		return nil, errors.New("RFC 9110 §12.5.5: coded, and Vary does not say so")
	}
	own := *resp
	own.Fields = nil
	for _, f := range resp.Fields {
		if f.Name == "etag" {
			f.Value = codedTag(f.Value, coding)
		}
		own.Fields = append(own.Fields, f)
	}
	return &own, nil
}

func noTransform(f message.Fields) bool {
	ds, _ := CacheControl(Lines(f, "cache-control"))
	return slices.ContainsFunc(ds, func(d Directive) bool { return d.Name == "no-transform" })
}

func varies(f message.Fields) bool {
	names, _ := VaryNames(f)
	return slices.Contains(names, "accept-encoding")
}

// plainTags are those that an origin knows the coded ones by.
func plainTags(tags []string) (plain []string) {
	for _, t := range tags {
		for _, c := range ourCodings {
			plain = append(plain, strings.Replace(t, "~"+c, "", 1))
		}
	}
	return plain
}

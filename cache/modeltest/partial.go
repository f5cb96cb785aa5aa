package modeltest

// asWhole is the representation that a part is of. Whatever of it is sent must be as it is there (RFC 9110 §15.3.7.3).
func asWhole(part *Response) *Response {
	whole := *part
	whole.Status, whole.Body, whole.Fields = 200, part.Whole, nil
	for _, f := range part.Fields {
		if f.Name != "content-range" {
			whole.Fields = append(whole.Fields, f)
		}
	}
	return &whole
}

// Strong is the validator that says byte for byte which representation it is (RFC 9110 §8.8.1); "" when there is none.
func Strong(resp *Response) string {
	if lines := Lines(resp.Fields, "etag"); len(lines) > 0 {
		if len(lines) == 1 && SameTag(lines[0], lines[0]) {
			return lines[0]
		}
		return ""
	}
	modified, known := DateField(resp.Fields, "last-modified", resp.Received)
	date, dated := DateField(resp.Fields, "date", resp.Received)
	if !known || !dated || date.Sub(modified).Seconds() < 1 {
		return ""
	}
	line, _ := One(resp.Fields, "last-modified")
	return line
}

// incomplete is what a response that broke off leaves to store (RFC 9111 §3.3): a part of what its validator names, or less of the part that it was;
// nil when nothing.
func (m *Model) incomplete(r *Request, resp *Response) *Response {
	if !resp.Cut || !m.Policy.StorePartial || resp.Status != 206 && (resp.Status != 200 || Strong(resp) == "") {
		return nil
	}
	part := *resp
	part.Status, part.Cut = 206, false
	if resp.Status == 200 {
		part.Whole = resp.Body
	}
	if why, _ := m.storable(r, &part); why != "" {
		return nil
	}
	return &part
}

// combine holds what a 206 makes of the stored responses of its version: what it says is said of all of them (RFC 9111 §3.4).
func (m *Model) combine(client *Request, f *Forward) {
	for _, h := range m.sameVersion(client, f.Response) {
		next := m.freshen(client, f, h)
		if why, _ := m.storable(client, next.response); why == "" {
			next.sure = false
			m.held = append(m.held, next)
		}
	}
}

// sameVersion are the candidates that a part may be put together with.
func (m *Model) sameVersion(r *Request, part *Response) (out []*held) {
	version := Strong(part)
	for _, h := range m.candidates(r) {
		if version != "" && Strong(h.response) == version {
			out = append(out, h)
		}
	}
	return out
}

// sliced is resp as the exchange has it in slices: it may end early where one of them did, and go on where another fetch could have it.
func (m *Model) sliced(x *Exchange, resp *Response) *Response {
	own := *resp
	own.Cut = x.Answer.Aborted && (resp.Cut || x.Crowded)
	for _, f := range x.Forwards {
		if x.Answer.Aborted && (f.Response == nil || f.Response.Cut || f.Response.Status != 206 || Strong(f.Response) != Strong(resp)) {
			own.Cut = true
		}
	}
	return &own
}

// broughtBy says whether a response to one of the forwards has that validator.
func broughtBy(forwards []Forward, name, validator string) bool {
	for _, f := range forwards {
		if f.Response != nil && contains(Lines(f.Response.Fields, name), validator) {
			return true
		}
	}
	return false
}

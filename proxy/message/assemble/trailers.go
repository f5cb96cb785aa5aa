package assemble

import "nearcast/proxy/message"

// Trailers takes the lines of a trailer section. The zero value is ready. The fields' strings are those given to Field.
type Trailers struct {
	max, size int
	err       *Error
	fields    message.Fields
}

// Begin starts a section of at most max bytes (as [Assembler.Begin] has it).
func (t *Trailers) Begin(max int) { *t = Trailers{max: max} }

// Field takes the next line. The error is an *Error, and stays.
func (t *Trailers) Field(name, value string) error {
	if t.err == nil {
		t.err = t.field(name, value)
	}
	if t.err != nil {
		return t.err
	}
	return nil
}

func (t *Trailers) field(name, value string) *Error {
	t.size += len(name) + len(value) + 32
	switch {
	case t.max > 0 && t.size > t.max:
		return errTooLarge
	case name == "":
		return errName
	case name[0] == ':':
		return errPseudoTail
	case !message.IsLowerToken(name):
		return errName
	case !message.IsFieldValue(value):
		return errValue
	}
	switch name {
	case "connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade":
		return errConnection
	case "content-length", "host", "te", "trailer", "expect", "content-encoding", "content-type", "content-range", "authorization", "cookie",
		"cache-control", "max-forwards", "http2-settings":
		return nil // what frames or routes the message, or says how to take it, has no place here (RFC 9110 §6.5.1)
	}
	t.fields = append(t.fields, message.Field{Name: name, Value: value})
	return nil
}

// Fields is the section, or why it is refused.
func (t *Trailers) Fields() (message.Fields, error) {
	if t.err != nil {
		return nil, t.err
	}
	return t.fields, nil
}

package assemble

import "nearcast/proxy/message"

// Content holds a message's content against its declared length (RFC 9113 §8.1.1, RFC 9114 §4.1.2).
type Content struct {
	declared int64 // -1: not
	got      int64
}

// NewContent is for content of that declared length, -1 for none.
func NewContent(declared int64) Content { return Content{declared: declared} }

// Add counts n bytes that have come. The error, an *Error, says that they are too many.
func (c *Content) Add(n int) error {
	c.got += int64(n)
	if c.declared >= 0 && c.got > c.declared {
		return errContent
	}
	return nil
}

// End is told that the content is complete. The error, an *Error, says that there is too little of it.
func (c *Content) End() error {
	if c.declared >= 0 && c.got != c.declared {
		return errContent
	}
	return nil
}

// Got is the number of bytes that have come.
func (c *Content) Got() int64 { return c.got }

// NoContent makes r one without content: its stream ended with the header section. The error, an *Error, says that content was declared.
func NoContent(r *message.Request) error {
	if r.ContentLength > 0 {
		return errContent
	}
	r.Body, r.Trailers, r.ContentLength = nil, nil, 0
	return nil
}

package qpack

import "errors"

var (
	// ErrEncoderStream is QPACK_ENCODER_STREAM_ERROR (RFC 9204 §6).
	ErrEncoderStream = errors.New("qpack: instruction on the encoder stream without a dynamic table")
	// ErrDecoderStream is QPACK_DECODER_STREAM_ERROR.
	ErrDecoderStream = errors.New("qpack: acknowledgement of what was never sent")
)

// CheckEncoderStream looks at octets of the client's encoder stream. With a capacity of 0 the only instruction that makes sense is to
// set it to 0 (RFC 9204 §4.3.1), one octet; every other inserts or refers to something.
func CheckEncoderStream(p []byte) error {
	const setCapacityZero = 0x20
	for _, c := range p {
		if c != setCapacityZero {
			return ErrEncoderStream
		}
	}
	return nil
}

// DecoderStream checks the client's decoder stream. As our sections refer to no dynamic table, there is nothing to acknowledge
// (RFC 9204 §4.4.1, §4.4.3); Stream Cancellation (§4.4.2) is all that a client may send. The zero value is ready.
type DecoderStream struct {
	left  int8 // octets that the current instruction may still have
	begun bool
}

// Check looks at the next octets of the stream.
func (d *DecoderStream) Check(p []byte) error {
	for _, c := range p {
		if !d.begun {
			if c&0xc0 != 0x40 {
				return ErrDecoderStream
			}
			d.begun = c&0x3f == 0x3f
			d.left = 9 // enough for a stream ID, 62 bits
			continue
		}
		if d.left--; d.left < 0 {
			return ErrDecoderStream
		}
		d.begun = c&0x80 != 0
	}
	return nil
}

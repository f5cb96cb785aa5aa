package h3

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
)

// settings is a control stream's beginning.
func settings(pairs ...uint64) []byte {
	var p []byte
	for _, v := range pairs {
		p = appendVarint(p, v)
	}
	return join([]byte{streamControl}, frame(frameSettings, p...))
}

// sendUni sends b on a new unidirectional stream.
func sendUni(t *testing.T, qc *quic.Conn, b []byte, end bool) *quic.SendStream {
	t.Helper()
	str, err := qc.OpenUniStream()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := str.Write(b); err != nil {
		t.Fatal(err)
	}
	if end {
		_ = str.Close()
	}
	return str
}

// ask sends b on a new request stream, with its end, and returns what came back.
func ask(t testing.TB, qc *quic.Conn, b []byte) (response, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	str, err := qc.OpenStreamSync(ctx)
	if err != nil {
		return response{}, err
	}
	_ = str.SetDeadline(time.Now().Add(patience))
	_, _ = str.Write(b)
	_ = str.Close()
	got, err := io.ReadAll(str)
	if err != nil {
		return response{}, err
	}
	return parseResponse(t, got), nil
}

func endCode(t *testing.T, qc *quic.Conn) quic.ApplicationErrorCode {
	t.Helper()
	select {
	case <-qc.Context().Done():
	case <-time.After(patience):
		t.Fatal("the connection is still open")
	}
	var app *quic.ApplicationError
	if !errors.As(context.Cause(qc.Context()), &app) {
		t.Fatal(context.Cause(qc.Context()))
	}
	return app.ErrorCode
}

func TestUnidirectionalStreamsThatBreakTheRules(t *testing.T) {
	r := start(t, ok, Config{})
	good := settings(settingMaxFieldSection, 4096)
	control := func(frames ...[]byte) [][]byte { return [][]byte{join(append([][]byte{good}, frames...)...)} }
	tests := []struct {
		name    string
		streams [][]byte
		end     bool // the last stream
		code    quic.ApplicationErrorCode
	}{
		{"no SETTINGS", [][]byte{join([]byte{streamControl}, frame(frameGoAway, 0))}, false, codeMissingSettings},
		{"an unknown frame before SETTINGS", [][]byte{join([]byte{streamControl}, frame(0x21))}, false, codeMissingSettings},
		{"a setting twice", [][]byte{settings(0x21, 1, 0x21, 2)}, false, codeSettings},
		{"a setting of HTTP/2", [][]byte{settings(0x04, 1)}, false, codeSettings},
		{"ENABLE_CONNECT_PROTOCOL 2", [][]byte{settings(settingExtendedConnect, 2)}, false, codeSettings},
		{"half a setting", [][]byte{settings(0x21)}, false, codeFrame},
		{"SETTINGS twice", control(frame(frameSettings)), false, codeFrameUnexpected},
		{"huge SETTINGS", [][]byte{join([]byte{streamControl}, frame(frameSettings, make([]byte, maxSettingsLength+1)...))}, false, codeExcessiveLoad},
		{"DATA", control(frame(frameData, 'a')), false, codeFrameUnexpected},
		{"HEADERS", control(frame(frameHeaders, 0, 0)), false, codeFrameUnexpected},
		{"PUSH_PROMISE", control(frame(framePushPromise, 0)), false, codeFrameUnexpected},
		{"HTTP/2's WINDOW_UPDATE", control(frame(0x08, 0)), false, codeFrameUnexpected},
		{"CANCEL_PUSH of nothing", control(frame(frameCancelPush, 0)), false, codeID},
		{"MAX_PUSH_ID smaller", control(frame(frameMaxPushID, 4), frame(frameMaxPushID, 3)), false, codeID},
		{"GOAWAY larger", control(frame(frameGoAway, 4), frame(frameGoAway, 8)), false, codeID},
		{"GOAWAY with more", control(frame(frameGoAway, 4, 4)), false, codeFrame},
		{"GOAWAY with nothing", control(frame(frameGoAway)), false, codeFrame},
		{"PRIORITY_UPDATE of a push", control(frame(framePriorityUpdateOfPush, 0, 'u', '=', '1')), false, codeID},
		{"PRIORITY_UPDATE of a unidirectional stream", control(frame(framePriorityUpdate, 2, 'u', '=', '1')), false, codeID},
		{"PRIORITY_UPDATE of nothing", control(frame(framePriorityUpdate)), false, codeFrame},
		{"control stream closed", control(), true, codeClosedCritical},
		{"control stream closed before SETTINGS", [][]byte{{streamControl}}, true, codeClosedCritical},
		{"control stream cut", [][]byte{good[:4]}, true, codeClosedCritical},
		{"two control streams", [][]byte{good, good}, false, codeStreamCreation},
		{"two encoder streams", [][]byte{{streamEncoder}, {streamEncoder}}, false, codeStreamCreation},
		{"two decoder streams", [][]byte{{streamDecoder}, {streamDecoder}}, false, codeStreamCreation},
		{"a push stream", [][]byte{{streamPush, 0}}, false, codeStreamCreation},
		{"encoder stream closed", [][]byte{{streamEncoder}}, true, codeClosedCritical},
		{"decoder stream closed", [][]byte{{streamDecoder}}, true, codeClosedCritical},
		{"an insert", [][]byte{{streamEncoder, 0xc0, 1, 'a'}}, false, codeEncoderStream},
		{"a capacity above what we allow", [][]byte{{streamEncoder, 0x3f, 0x01}}, false, codeEncoderStream},
		{"Section Acknowledgment", [][]byte{{streamDecoder, 0x80}}, false, codeDecoderStream},
		{"Insert Count Increment", [][]byte{{streamDecoder, 0x01}}, false, codeDecoderStream},
		{"endless unknown frames", control(bytes.Repeat(frame(0x21), 2*allowance)), false, codeExcessiveLoad},
		{"endless instructions", [][]byte{append([]byte{streamEncoder}, bytes.Repeat([]byte{0x20}, 9*allowance)...)}, false, codeExcessiveLoad},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			qc := r.dial(t)
			for i, b := range tt.streams {
				sendUni(t, qc, b, tt.end && i == len(tt.streams)-1)
			}
			if got := endCode(t, qc); got != tt.code {
				t.Errorf("ended with %#x, want %#x", got, tt.code)
			}
		})
	}
}

// TestWhatMustBeTolerated: unknown settings, frames and streams, and streams that end before they say what they are.
func TestWhatMustBeTolerated(t *testing.T) {
	r := start(t, ok, Config{})
	qc := r.dial(t)
	sendUni(t, qc, join(settings(0x21, 5, settingMaxFieldSection, 1<<20, settingDatagram, 1), frame(0x21, 1, 2), frame(frameMaxPushID, 3), frame(frameMaxPushID, 3),
		frame(frameGoAway, 8), frame(frameGoAway, 8), frame(framePriorityUpdate, 0, 'u', '=', '1'), frame(0x40+0x21, make([]byte, 1000)...)), false)
	sendUni(t, qc, []byte{streamEncoder, 0x20}, false)
	sendUni(t, qc, []byte{streamDecoder, 0x44}, false)
	sendUni(t, qc, []byte{0x40}, true)
	unknown := sendUni(t, qc, []byte{0x21, 1, 2, 3}, false)
	select { // we ask for no more of it
	case <-unknown.Context().Done():
	case <-time.After(patience):
		t.Error("an unknown stream is still read")
	}
	var se *quic.StreamError
	if err := context.Cause(unknown.Context()); !errors.As(err, &se) || se.ErrorCode != codeStreamCreation {
		t.Errorf("stopped with %v", err)
	}
	if p, err := ask(t, qc, request("GET")); err != nil || p.fields.Get(":status") != "200" {
		t.Errorf("got %v, %v", p.fields, err)
	}
}

// TestManyUnknownStreams: each is harmless, their number is not.
func TestManyUnknownStreams(t *testing.T) {
	for name, b := range map[string][]byte{"unknown": {0x21}, "ends before its type": nil, "ends within its type": {0x40}} {
		r := start(t, ok, Config{})
		qc := r.dial(t)
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		for range allowance {
			str, err := qc.OpenUniStreamSync(ctx)
			if err != nil {
				break
			}
			_, _ = str.Write(b)
			_ = str.Close()
		}
		_ = qc.CloseWithError(0, "") // no-op when the server was first
		if got := endCode(t, qc); got != codeExcessiveLoad {
			t.Errorf("%s: ended with %#x", name, got)
		}
	}
}

func TestOurControlStream(t *testing.T) {
	r := start(t, ok, Config{MaxHeader: 12345})
	qc := r.dial(t)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	str, err := qc.AcceptUniStream(ctx)
	if err != nil {
		t.Fatal(err)
	}
	rd := reader{in: str, buf: make([]byte, 128)}
	if err := rd.more(1); err != nil {
		t.Fatal(err)
	}
	rd.r++ // the type, 0
	typ, n, err := rd.next()
	if err != nil || typ != frameSettings {
		t.Fatal(typ, err)
	}
	p, err := rd.payload(int(n))
	if err != nil || rd.buf[0] != streamControl {
		t.Fatal(err)
	}
	got := map[uint64]uint64{}
	for len(p) > 0 {
		id, a := varint(p)
		v, b := varint(p[a:])
		got[id] = v
		p = p[a+b:]
	}
	for id, want := range map[uint64]uint64{settingTableCapacity: 0, settingBlockedStreams: 0, settingMaxFieldSection: 12345, settingExtendedConnect: 1} {
		if v, ok := got[id]; !ok || v != want {
			t.Errorf("setting %#x is %d, %t; want %d", id, v, ok, want)
		}
	}
}

// TestGoAway: a warning first, then the number; what comes after it is rejected, so that the client may send it again elsewhere.
func TestGoAway(t *testing.T) {
	r := start(t, ok, Config{})
	qc := r.dial(t)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	hold, err := qc.OpenStreamSync(ctx) // keeps the connection open
	if err != nil {
		t.Fatal(err)
	}
	_, _ = hold.Write([]byte{frameHeaders})
	if _, err := ask(t, qc, request("GET")); err != nil {
		t.Fatal(err)
	}
	r.Drain()
	str, err := qc.AcceptUniStream(ctx)
	if err != nil {
		t.Fatal(err)
	}
	rd := reader{in: str, buf: make([]byte, 128)}
	_ = rd.more(1)
	rd.r++
	var ids []uint64
	for len(ids) < 2 {
		typ, n, err := rd.next()
		if err != nil {
			t.Fatal(err)
		}
		p, err := rd.payload(int(n))
		if err != nil {
			t.Fatal(err)
		}
		if typ == frameGoAway {
			id, _ := varint(p)
			ids = append(ids, id)
		}
	}
	if ids[0] != maxRequestID || ids[1] != 8 {
		t.Errorf("GOAWAY with %v, want the largest ID and 8", ids)
	}
	var se *quic.StreamError
	if _, err := ask(t, qc, request("GET")); !errors.As(err, &se) || se.ErrorCode != codeRequestRejected {
		t.Errorf("a request after GOAWAY: %v, want H3_REQUEST_REJECTED", err)
	}
	_, _ = hold.Write(request("GET")[1:])
	_ = hold.Close()
	_ = hold.SetReadDeadline(time.Now().Add(patience))
	got, err := io.ReadAll(hold)
	if err != nil || parseResponse(t, got).fields.Get(":status") != "200" {
		t.Errorf("the request in flight: %v", err)
	}
	if got := endCode(t, qc); got != codeNoError {
		t.Errorf("ended with %#x", got)
	}
}

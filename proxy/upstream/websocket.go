package upstream

import (
	"crypto/rand"
	"crypto/sha1"
	"encoding/base64"
	"errors"

	"nearcast/proxy/message"
)

// WebSocket's opening handshake has a key and its hash over HTTP/1.1 (RFC 6455 §4), and neither over HTTP/2 and HTTP/3 (RFC 8441 §5). Where
// client and origin speak different versions, this side makes up what is missing on one of them.

const (
	wsKey    = "sec-websocket-key"
	wsAccept = "sec-websocket-accept"
)

var errAccept = errors.New("the origin does not know the key of the WebSocket handshake")

// newKey is a key for the origin, when the client has sent none; else "".
func newKey(a *Attempt) string {
	if a.Request.Upgrade != "websocket" || a.Fields.Has(wsKey) {
		return ""
	}
	var b [16]byte
	rand.Read(b[:])
	return base64.StdEncoding.EncodeToString(b[:])
}

// acceptance checks an origin's answer to a key of ours, and takes it away: the client has not asked for it.
func acceptance(key string, fields message.Fields) (message.Fields, error) {
	if key == "" {
		return fields, nil
	}
	if fields.Get(wsAccept) != hashOf(key) {
		return nil, errAccept
	}
	fields.Del(wsAccept)
	return fields, nil
}

// hashOf is Sec-WebSocket-Accept for a key.
func hashOf(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}

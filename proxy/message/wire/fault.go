package wire

import (
	"slices"

	"nearcast/proxy/message"
)

// fault is what is wrong with a message; 0 is nothing.
type fault uint8

const (
	faultEmptyLines fault = 1 + iota
	faultBareLF
	faultBareCR
	faultLongLine
	faultLarge
	faultLines
	faultMethod
	faultLine
	faultForm
	faultVersion
	faultMajor
	faultConnect
	faultFold
	faultName
	faultColon
	faultControl
	faultNoHost
	faultTwoHosts
	faultHost
	faultHostDiffers
	faultLength
	faultTwoLengths
	faultBoth
	faultCoding
	faultTwoCodings
	faultCoding10
	faultOption
	faultOptions
	faultExpect
	faultStatusLine
	faultNoBody
	faultChunkSize
	faultChunkLarge
	faultChunkExt
	faultChunkExtLong
	faultChunkEnd
	faultTrailer
	faultTrailerLarge
	faults
)

// all faults, with the status that a client gets. What is wrong with a response is a 502 instead.
var all = [faults]struct {
	status int
	reason string
}{
	faultEmptyLines:   {400, "empty lines before a message"},
	faultBareLF:       {400, "bare LF"},
	faultBareCR:       {400, "bare CR"},
	faultLongLine:     {414, "request line too long"},
	faultLarge:        {431, "header section too large"},
	faultLines:        {431, "too many field lines"},
	faultMethod:       {400, "malformed method"},
	faultLine:         {400, "malformed request line"},
	faultForm:         {400, "wrong form of request target"},
	faultVersion:      {400, "malformed version"},
	faultMajor:        {505, "unknown version"},
	faultConnect:      {501, "method CONNECT"},
	faultFold:         {400, "folded field line"},
	faultName:         {400, "malformed field name"},
	faultColon:        {400, "space before a colon"},
	faultControl:      {400, "control byte in a field value"},
	faultNoHost:       {400, "no host"},
	faultTwoHosts:     {400, "two hosts"},
	faultHost:         {400, "malformed host"},
	faultHostDiffers:  {400, "host and authority differ"},
	faultLength:       {400, "malformed content-length"},
	faultTwoLengths:   {400, "two lengths"},
	faultBoth:         {400, "length and transfer-encoding"},
	faultCoding:       {501, "unknown transfer-encoding"},
	faultTwoCodings:   {400, "two transfer-encodings"},
	faultCoding10:     {400, "transfer-encoding in HTTP/1.0"},
	faultOption:       {400, "malformed connection option"},
	faultOptions:      {400, "too many connection options"},
	faultExpect:       {417, "unknown expectation"},
	faultStatusLine:   {400, "malformed status line"},
	faultNoBody:       {400, "body where none may be"},
	faultChunkSize:    {400, "malformed chunk size"},
	faultChunkLarge:   {400, "chunk too large"},
	faultChunkExt:     {400, "malformed chunk extension"},
	faultChunkExtLong: {400, "chunk extensions too long"},
	faultChunkEnd:     {400, "no line end after a chunk"},
	faultTrailer:      {400, "forbidden trailer field"},
	faultTrailerLarge: {400, "trailer section too large"},
}

var ofRequest, ofResponse = func() (q, p [faults]error) {
	for f := fault(1); f < faults; f++ {
		q[f] = &message.Error{Blame: message.BlameClient, Status: all[f].status, Reason: all[f].reason}
		p[f] = &message.Error{Blame: message.BlameOrigin, Status: 502, Reason: all[f].reason}
	}
	return q, p
}()

// Reasons are all that an error of this package may have as its Reason, besides those of [message.ParseTarget].
var Reasons = func() (r []string) {
	for f := fault(1); f < faults; f++ {
		r = append(r, all[f].reason)
	}
	slices.Sort(r)
	return r
}()

// of is the error of a request or a response for f, nil for 0.
func (f fault) of(response bool) error {
	if response {
		return ofResponse[f]
	}
	return ofRequest[f]
}

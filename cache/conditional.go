package cache

import "nearcast/proxy/message"

// Conditions returns the preconditions that validate o: If-None-Match and If-Modified-Since (RFC 9111 §4.3.1).
// Nil when o has no validator: the whole must be fetched.
func Conditions(o *Object) message.Fields { return nil }

// EvaluateConditional evaluates the request's preconditions against an object that may serve (RFC 9110 §13, RFC 9111 §4.3.2).
// 0: answer with the object; 304: not modified. If-Match and If-Unmodified-Since are no cache's to answer: Lookup has seen to them.
func EvaluateConditional(r *message.Request, o *Object) (status int) { return 0 }

// NotModifiedFields is the header section of a 304 made from o (RFC 9110 §15.4.5): the fields that a 200 would have had and that the client needs to update its copy.
func NotModifiedFields(o *Object) message.Fields { return nil }

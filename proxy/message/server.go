package message

import "context"

type serverKey struct{}

// WithServer returns a context that knows the server's: the one whose end cuts every connection.
func WithServer(ctx, server context.Context) context.Context {
	return context.WithValue(ctx, serverKey{}, server)
}

// Cut returns why the server cut the exchange of ctx, nil when it did not. An exchange that is cut ends like one whose client has gone,
// and the connection's end may be noticed before the server's reaches ctx; so it is the server's own context that tells the two apart.
func Cut(ctx context.Context) error {
	if server, ok := ctx.Value(serverKey{}).(context.Context); ok {
		return context.Cause(server)
	}
	return nil
}

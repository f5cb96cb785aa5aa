package lab

import (
	"context"
	"fmt"
)

// cutTable is the packet filter's table that cuts an edge's link, in its router's namespace. Adding before deleting makes it no error
// that the table is not there.
const cutTable = "table inet cut-%[1]s\ndelete table inet cut-%[1]s\n"

// cutChains drop whatever comes from or goes to a device. The device stays up, so neither end is told.
const cutChains = `table inet cut-%[1]s {
	chain forward {
		type filter hook forward priority 0
		iifname %[1]q drop
		oifname %[1]q drop
	}
	chain input {
		type filter hook input priority 0
		iifname %[1]q drop
	}
	chain output {
		type filter hook output priority 0
		oifname %[1]q drop
	}
}
`

// CutEdge has the link between an edge and its router lose every packet, both ways and silently. Cutting twice is harmless.
func (l *Lab) CutEdge(ctx context.Context, name string) error {
	return l.filterEdge(ctx, name, cutTable+cutChains)
}

// MendEdge undoes CutEdge. That the link is whole is no error.
func (l *Lab) MendEdge(ctx context.Context, name string) error {
	return l.filterEdge(ctx, name, cutTable)
}

func (l *Lab) filterEdge(ctx context.Context, name, rules string) error {
	s, err := site(name)
	if err != nil {
		return err
	}
	_, err = Namespace(Router, s.Region.Name).Command(ctx, fmt.Sprintf(rules, s.device()), "nft", "-f", "-")
	return err
}

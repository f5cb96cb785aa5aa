package lab

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// WriteGuide writes how to look around in the lab.
func (l *Lab) WriteGuide(w io.Writer) {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintf(w, "The lab is up. Service: https://%s at %s and %s, announced by every edge as %s and %s.\n\n", Host, Service4, Service6, Prefix4, Prefix6)
	fmt.Fprintln(t, "region\trouter\trouter's console\tedge\torigin\tlog of the edge")
	for _, s := range allSites() {
		r := s.Region
		_, _, edge4, _ := s.addresses()
		_, _, origin4, _ := r.addresses(Origin)
		fmt.Fprintf(t, "%s\tAS %d %s\t%s\t%s\t%s:%d\t%s\n", r.Name, r.ASN, r.Daemon, l.routers[r.Name].Console(), edge4, origin4, originPort,
			l.LogFile(edgeProgram(s.Name())))
	}
	_ = t.Flush()
	fmt.Fprintln(w)
	for _, p := range paths {
		fmt.Fprintf(w, "%s to %s: %v one way\n", p.a, p.b, p.delay)
	}
	client, edge := Namespace(Client, "tyo"), Namespace(Edge, "tyo-1")
	fmt.Fprintf(w, `
Be a client in Tokyo:
  ip netns exec %s curl --cacert %s --resolve %s:443:%s -i https://%s/dynamic
Be on the edge in Tokyo:
  ip netns exec %s curl -s http://%s/status
Every place is a namespace: nc-router-, nc-origin- and nc-client- with a region's name, nc-edge- with an edge's, such as nyc-2.
Kill an origin or an edge, and watch the route move. Ctrl-C takes everything down.
`, client, AuthorityFile, Host, Service4, Host, edge, AdminAddress)
}

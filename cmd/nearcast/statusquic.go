package main

import (
	"cmp"
	"fmt"
	"io"
	"time"
)

// mostMoves are shown; there are more in the JSON.
const mostMoves = 8

// quicView is what edges do for each other's QUIC connections at one port.
type quicView struct {
	Port    int            `json:"port"`
	State   string         `json:"state"`
	Peers   []quicPeerView `json:"peers"`
	Flows   int            `json:"flows"`
	Clients int            `json:"clients"`
	Moves   []quicMoveView `json:"moves"`
}

type quicPeerView struct {
	Region           string    `json:"region"`
	Address          string    `json:"address"`
	Reach            string    `json:"reach"`
	Since            time.Time `json:"since"`
	State            string    `json:"state"`
	RTT              float64   `json:"rtt_ms"`
	MTU              int       `json:"mtu"`
	ForwardedOut     uint64    `json:"forwarded_out"`
	ForwardedIn      uint64    `json:"forwarded_in"`
	ReturnedOut      uint64    `json:"returned_out"`
	ReturnedIn       uint64    `json:"returned_in"`
	LastPacket       time.Time `json:"last_packet"`
	ParametersDiffer bool      `json:"parameters_differ"`
	ClockDiffers     bool      `json:"clock_differs"`
}

type quicMoveView struct {
	Client  string    `json:"client"`
	From    string    `json:"from"`
	Reason  string    `json:"reason"`
	At      time.Time `json:"at"`
	Packets uint64    `json:"packets"`
}

// writeQUIC prints, for each port, a line for each other edge, and the latest parts of the network whose packets have come to the wrong one.
func (st *statusView) writeQUIC(w io.Writer, now time.Time) {
	for i := range st.QUIC {
		q := &st.QUIC[i]
		if len(q.Peers) == 0 {
			continue
		}
		fmt.Fprintf(w, "\nQUIC %d WITH\tREGION\tREACH\tFOR\tSTATE\tRTT\tMTU\tSENT/CAME\tREPLIES\tLATEST\n", q.Port)
		for _, p := range q.Peers {
			p.write(w, now)
		}
		for _, p := range q.Peers {
			if p.ParametersDiffer {
				fmt.Fprintf(w, "LIMITS DIFFER at %s: early data of its clients is refused here; see max_streams, max_header_size, early_data\n", p.Address)
			}
			if p.ClockDiffers {
				fmt.Fprintf(w, "CLOCK DIFFERS at %s: it has another date, and with it other keys\n", p.Address)
			}
		}
		q.writeMoves(w, now)
	}
}

// write prints what is known, and packets as those that went to the other edge and those that came from it.
func (p *quicPeerView) write(w io.Writer, now time.Time) {
	rtt, mtu, latest := "-", "-", "-"
	if p.RTT > 0 {
		rtt, mtu = fmt.Sprintf("%.1f ms", p.RTT), fmt.Sprint(p.MTU)
	}
	if !p.LastPacket.IsZero() {
		latest = since(now, p.LastPacket) + " ago"
	}
	fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%d/%d\t%d/%d\t%s\n", p.Address, p.Region, p.Reach, since(now, p.Since), cmp.Or(p.State, "-"),
		rtt, mtu, p.ForwardedOut, p.ForwardedIn, p.ReturnedOut, p.ReturnedIn, latest)
}

func (q *quicView) writeMoves(w io.Writer, now time.Time) {
	if len(q.Moves) == 0 {
		return
	}
	fmt.Fprintln(w, "\nCLIENTS\tOF EDGE\tWHY\tFIRST SEEN HERE\tPACKETS")
	for _, m := range q.Moves[:min(len(q.Moves), mostMoves)] {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s ago\t%d\n", m.Client, m.From, m.Reason, since(now, m.At), m.Packets)
	}
}

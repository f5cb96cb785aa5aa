package h3

import (
	"net"
	"unsafe"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"nearcast/proxy/h3/cid"
)

// What edges send each other: the first octet, see rescue.IsTunnel, and the place of the worker that it is for.
const tunnelOctet, tunnelWorker = 0x0e, 2

// byHash is more than the number of any socket: then the kernel chooses by its hash of the addresses.
const byHash = cid.MaxWorkers

// steering is the classic BPF program that chooses a datagram's socket. Its data begins at the UDP payload. A client's own connection ID of 17 octets
// names any socket, always the same one.
func steering() []bpf.Instruction {
	worker := func(at uint32) []bpf.Instruction {
		return []bpf.Instruction{bpf.LoadAbsolute{Off: at, Size: 1}, bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: cid.MaxWorkers - 1}, bpf.RetA{}}
	}
	program := []bpf.Instruction{
		bpf.LoadAbsolute{Off: 0, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: tunnelOctet, SkipFalse: 2},
		bpf.LoadAbsolute{Off: tunnelWorker, Size: 1},
		bpf.RetA{},
		bpf.JumpIf{Cond: bpf.JumpBitsSet, Val: 0x80, SkipTrue: 3},
	}
	program = append(program, worker(1)...) // short header
	program = append(program,
		bpf.LoadAbsolute{Off: 5, Size: 1}, // the length of the connection ID
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: cid.Len, SkipFalse: 3})
	program = append(program, worker(6)...)
	return append(program, bpf.RetConstant{Val: byHash})
}

// steer has the kernel give each datagram to the socket of its connection. The sockets are bound to one address, in the order of their numbers.
func steer(sockets []*net.UDPConn) error {
	program, err := bpf.Assemble(steering())
	if err != nil {
		return err
	}
	filter := make([]unix.SockFilter, len(program))
	for i, ins := range program {
		filter[i] = unix.SockFilter{Code: ins.Op, Jt: ins.Jt, Jf: ins.Jf, K: ins.K}
	}
	raw, err := sockets[0].SyscallConn()
	if err != nil {
		return err
	}
	if cerr := raw.Control(func(fd uintptr) {
		err = unix.SetsockoptSockFprog(int(fd), unix.SOL_SOCKET, unix.SO_ATTACH_REUSEPORT_CBPF,
			&unix.SockFprog{Len: uint16(len(filter)), Filter: unsafe.SliceData(filter)})
	}); cerr != nil {
		return cerr
	}
	return err
}

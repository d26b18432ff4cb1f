// Package ticket tells a proposed command from all others.
//
// A command reaches the log through whoever leads, from any node; and every node applies it. So who wants its result waits
// for it in its own log, and has to know it again there: by a ticket before the command.
//
//	offset  size  field
//	0       1     version, 2; a command without a ticket begins with its own version, 1
//	1       4     node that the command is from
//	5       8     boot: drawn by that node's process when it started
//	13      8     number: counts that process's commands
//	21      ...   the command
//
// A command that was sent again, since its first sending might have been lost, can be in the log twice. Carried out a second time it
// could undo what others did in between: a topic that was deleted would come back, a create that was refused come true. So the
// state remembers the newest tickets (Memory), and passes over what has one of them.
package ticket

import (
	"encoding/binary"

	"ackline/broker/id"
)

const (
	version = 2
	size    = 21
)

// Ticket tells a proposed command from all others. The zero Ticket is none.
type Ticket struct {
	Node   id.NodeID
	Boot   uint64
	Number uint64
}

// Attach returns an entry's data: the command as Encode returned it, behind the ticket.
func (t Ticket) Attach(command []byte) []byte {
	b := make([]byte, 1, size+len(command))
	b[0] = version
	b = binary.LittleEndian.AppendUint32(b, uint32(t.Node))
	b = binary.LittleEndian.AppendUint64(b, t.Boot)
	b = binary.LittleEndian.AppendUint64(b, t.Number)
	return append(b, command...)
}

// Detach splits an entry's data. What has no ticket is all command.
func Detach(data []byte) (Ticket, []byte) {
	if len(data) < size || data[0] != version {
		return Ticket{}, data
	}
	le := binary.LittleEndian
	return Ticket{id.NodeID(le.Uint32(data[1:])), le.Uint64(data[5:]), le.Uint64(data[13:])}, data[size:]
}

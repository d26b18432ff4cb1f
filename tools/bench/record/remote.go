package record

import "fmt"

// Remote says that brokers and floor had been started by somebody else, on machines that bench could not look into: what it measured
// came over the network, from the client's machine. Host is then the client's machine, with the number of hosts and the note.
type Remote struct {
	Hosts   int       `json:"hosts"`              // brokers
	Note    string    `json:"note"`               // what somebody says of the machines
	Floor   string    `json:"floor,omitempty"`    // what somebody says that the floor is; "" when there is none
	Unknown []string  `json:"unknown"`            // what could not be seen from the client, each the subject of a sentence
	LeftOut []LeftOut `json:"left_out,omitempty"` // scenarios of the suite
}

// LeftOut is a scenario that was not run, and why.
type LeftOut struct {
	Scenario string `json:"scenario"`
	Reason   string `json:"reason"`
}

// Hosts is how many there are, in words.
func Hosts(n int) string {
	if n == 1 {
		return "1 host"
	}
	return fmt.Sprintf("%d hosts", n)
}

// ClientField begins the names of those fields of a Remote run's fingerprint that are about the client's machine.
const ClientField = "client_"

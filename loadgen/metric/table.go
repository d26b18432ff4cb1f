package metric

// ID names a metric of the table.
type ID int

// The metrics, in the order in which they are documented.
const (
	BuildInfo ID = iota
	Workers
	Acked
	Failed
	Records
	ValueBytes
	Response
	Service
	Lag
	Backlog
	InFlight
	Overdue
	CheckAcked
	CheckRead
	CheckUnread
	CheckFaults
	CheckOutages
	CheckOutageTime

	metrics // how many there are
)

// def describes a metric. The label target is brokers or floor.
type def struct {
	name   string
	help   string
	labels []string
}

var table = [metrics]def{
	BuildInfo: {"loadgen_build_info", "1, with the version of the generator.", []string{"version"}},
	Workers:   {"loadgen_workers", "Threads that make a load now; 0 between loads.", nil},
	Acked:     {"loadgen_acked_total", "Operations that were acknowledged, warm-up included.", []string{"target"}},
	Failed:    {"loadgen_failed_total", "Operations that failed or timed out, by error code, warm-up included.", []string{"target", "code"}},
	Records:   {"loadgen_records_total", "Records that were acknowledged or fetched.", []string{"target"}},
	ValueBytes: {"loadgen_value_bytes_total",
		"Bytes of the values of these records.", []string{"target"}},
	Response: {"loadgen_response_seconds",
		"From when the schedule said that an operation begins until its acknowledgement; one that failed is above every bound and not in the sum.", []string{"target"}},
	Service: {"loadgen_service_seconds",
		"From sending an operation until its acknowledgement; one that failed is above every bound and not in the sum.", []string{"target"}},
	Lag: {"loadgen_lag_seconds",
		"From when the schedule said that an operation begins until the generator got to it: the generator's own delay.", []string{"target"}},
	Backlog: {"loadgen_backlog_seconds",
		"From when the generator got to an operation until there was room to send it: the system's delay.", []string{"target"}},
	InFlight: {"loadgen_in_flight", "Operations that were sent and have no answer.", []string{"target"}},
	Overdue:  {"loadgen_overdue_seconds", "How long the operation has been due that waits longest for room; 0 when none waits.", []string{"target"}},

	CheckAcked:      {"loadgen_check_acked_records_total", "Records that a check has written and that were acknowledged.", nil},
	CheckRead:       {"loadgen_check_read_records_total", "Records of a check that were read back and compared.", nil},
	CheckUnread:     {"loadgen_check_unread_records", "Records of a check that were acknowledged and not read back yet.", nil},
	CheckFaults:     {"loadgen_check_faults_total", "Records of a check with something wrong: lost, repeated, out_of_order, misplaced or changed.", []string{"fault"}},
	CheckOutages:    {"loadgen_check_outages_total", "How often a check had no acknowledgement for a second or more.", nil},
	CheckOutageTime: {"loadgen_check_outage_seconds_total", "How long these were in all.", nil},
}

func (i ID) String() string { return table[i].name }

// All lists the table in its order.
func All() []ID {
	list := make([]ID, metrics)
	for i := range list {
		list[i] = ID(i)
	}
	return list
}

package sock

import "time"

// DialTimeout bounds one attempt to connect: over the longest links, and yet short enough that a leader which was cut off and has a
// successor by now is not waited for. Whoever sends again what was not answered asks once more who leads before the kernel says SYN again,
// which it does after a second.
func DialTimeout(resend bool) time.Duration {
	if resend {
		return 500 * time.Millisecond
	}
	return time.Second
}

// UpgradeTimeout bounds TLS and SASL on a connection: as many as five round trips.
const UpgradeTimeout = 5 * time.Second

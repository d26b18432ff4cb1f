package api

import "ackline/broker/api/alter"

// alterations is what AlterConfigs (33) and IncrementalAlterConfigs (44) are answered from.
func (h *Handler) alterations() alter.Topics {
	return alter.Topics{Catalog: h.cfg.Cluster.Catalog, CatchUp: h.catchUp, Propose: h.cfg.Cluster.Propose, Limits: h.cfg.Limits, Code: code,
		Unknown: func() int16 { return h.unknown(codeUnknownTopicOrPartition) }}
}

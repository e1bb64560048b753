BEGIN TRANSACTION;
CREATE TABLE ft_event (
	id INTEGER NOT NULL, 
	at_wall_s FLOAT NOT NULL, 
	name VARCHAR(100) NOT NULL, 
	facts JSON NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "ft_event" VALUES(1,1760000100.125,'settings_conflict','{"replaced": {"revision": 1, "values": {"threshold": 6}}}');
INSERT INTO "ft_event" VALUES(2,1760000010.75,'lost_lease','{"epoch": 4, "why": "\u65e5\u672c"}');
CREATE TABLE ft_node (
	id INTEGER NOT NULL, 
	epoch BIGINT NOT NULL, 
	role VARCHAR(20) NOT NULL, 
	role_epoch BIGINT NOT NULL, 
	boot_id VARCHAR(64) NOT NULL, 
	lease_epoch BIGINT NOT NULL, 
	lease_deadline_s FLOAT NOT NULL, 
	manual_hold BOOLEAN NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "ft_node" VALUES(1,7,'active',4,'0f0f-boot',4,123456.789012,1);
CREATE TABLE ft_settings (
	revision INTEGER NOT NULL, 
	saved_wall_s FLOAT NOT NULL, 
	origin VARCHAR(100) NOT NULL, 
	actor VARCHAR(200) NOT NULL, 
	override_reason TEXT NOT NULL, 
	acknowledged BOOLEAN NOT NULL, 
	"values" JSON NOT NULL, 
	PRIMARY KEY (revision)
);
INSERT INTO "ft_settings" VALUES(1,1760000001.75,'server1','Jürgen Müller','',1,'{"server1_address": "10.0.0.1", "server2_address": "10.0.0.2", "enabled": true, "vip_address": "", "balancer_kind": "external", "vip_test": false, "vip_urls": false, "application_error": false, "failback": false, "failback_stable_s": 0.0, "failback_hours": "", "timeout_s": 10.0, "interval_s": 30.0, "threshold": 5, "suspect_interval_s": 0.0, "portal_restart_s": 60.0, "release_delay_s": 60.0, "service_stop_s": 5.0, "cti_connect_s": 3.0, "cti_ports": 0, "cti_devices": 0, "lan_references": [], "witness": "", "rtt_ms": 1000, "agent_port": 2011, "flap_budget": 3, "flap_window_s": 3600.0, "daily_restart": ""}');
INSERT INTO "ft_settings" VALUES(2,1760000004.75,'server1','bob','the guide’s example, as agreed',0,'{"server1_address": "10.0.0.1", "server2_address": "10.0.0.2", "enabled": true, "vip_address": "", "balancer_kind": "external", "vip_test": false, "vip_urls": false, "application_error": false, "failback": false, "failback_stable_s": 0.0, "failback_hours": "", "timeout_s": 10.0, "interval_s": 30.0, "threshold": 3, "suspect_interval_s": 0.0, "portal_restart_s": 60.0, "release_delay_s": 60.0, "service_stop_s": 5.0, "cti_connect_s": 3.0, "cti_ports": 0, "cti_devices": 0, "lan_references": ["10.0.0.254", "tcp:10.0.0.9:80"], "witness": "", "rtt_ms": 1000, "agent_port": 2011, "flap_budget": 3, "flap_window_s": 3600.0, "daily_restart": ""}');
CREATE TABLE ft_settings_both (
	revision INTEGER NOT NULL, 
	since_wall_s FLOAT NOT NULL, 
	server VARCHAR(20) NOT NULL, 
	PRIMARY KEY (revision)
);
INSERT INTO "ft_settings_both" VALUES(1,1760000003.25,'server2');
CREATE TABLE ft_standing (
	name VARCHAR(20) NOT NULL, 
	document JSON NOT NULL, 
	PRIMARY KEY (name)
);
INSERT INTO "ft_standing" VALUES('pause','{"owner": "ann", "reason": "Wartung \u2013 Z\u00fcrich", "until_s": 99.5}');
INSERT INTO "ft_standing" VALUES('tell-pause','{"command": "pause", "revision": 3, "told": false}');
CREATE TABLE ft_switch (
	id INTEGER NOT NULL, 
	switch_id VARCHAR(64) NOT NULL, 
	kind VARCHAR(20) NOT NULL, 
	rule VARCHAR(20) NOT NULL, 
	reason TEXT NOT NULL, 
	epoch BIGINT NOT NULL, 
	actor VARCHAR(200) NOT NULL, 
	started_wall_s FLOAT NOT NULL, 
	ended_wall_s FLOAT, 
	outcome VARCHAR(20) NOT NULL, 
	role_after VARCHAR(20) NOT NULL, 
	detail TEXT NOT NULL, 
	PRIMARY KEY (id), 
	UNIQUE (switch_id)
);
INSERT INTO "ft_switch" VALUES(1,'Ab1','promote','F1','active peer is dead',4,'',1760000006.25,1760000007.75,'done','active','');
INSERT INTO "ft_switch" VALUES(2,'aB2','demote','M1','switchover',7,'ann',1760000009.25,NULL,'','','');
CREATE TABLE ft_switch_step (
	switch_id VARCHAR(64) NOT NULL, 
	step_index INTEGER NOT NULL, 
	step VARCHAR(100) NOT NULL, 
	outcome VARCHAR(20) NOT NULL, 
	duration_s FLOAT NOT NULL, 
	detail TEXT NOT NULL, 
	PRIMARY KEY (switch_id, step_index), 
	FOREIGN KEY(switch_id) REFERENCES ft_switch (switch_id)
);
INSERT INTO "ft_switch_step" VALUES('Ab1',0,'fence','ok',0.412,'no answer');
INSERT INTO "ft_switch_step" VALUES('Ab1',1,'service cti','ok',3.25,'');
CREATE INDEX ix_ft_switch_started_wall_s ON ft_switch (started_wall_s);
CREATE INDEX ix_ft_event_name ON ft_event (name);
CREATE INDEX ix_ft_event_at_wall_s ON ft_event (at_wall_s);
COMMIT;

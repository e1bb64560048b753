CREATE TABLE `ft_settings` (
  `revision` int(11) NOT NULL,
  `saved_wall_s` float NOT NULL,
  `origin` varchar(100) NOT NULL,
  `actor` varchar(200) NOT NULL,
  `override_reason` text NOT NULL,
  `acknowledged` tinyint(1) NOT NULL,
  `values` longtext CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL CHECK (json_valid(`values`)),
  PRIMARY KEY (`revision`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;
INSERT INTO ft_settings VALUES (1,1760000000.0e0,'server1','Jürgen Müller','',1,'{\"server1_address\": \"10.0.0.1\", \"server2_address\": \"10.0.0.2\", \"enabled\": true, \"vip_address\": \"\", \"balancer_kind\": \"external\", \"vip_test\": false, \"vip_urls\": false, \"application_error\": false, \"failback\": false, \"failback_stable_s\": 0.0, \"failback_hours\": \"\", \"timeout_s\": 10.0, \"interval_s\": 30.0, \"threshold\": 5, \"suspect_interval_s\": 0.0, \"portal_restart_s\": 60.0, \"release_delay_s\": 60.0, \"service_stop_s\": 5.0, \"cti_connect_s\": 3.0, \"cti_ports\": 0, \"cti_devices\": 0, \"lan_references\": [], \"witness\": \"\", \"rtt_ms\": 1000, \"agent_port\": 2011, \"flap_budget\": 3, \"flap_window_s\": 3600.0, \"daily_restart\": \"\"}');
INSERT INTO ft_settings VALUES (2,1760000000.0e0,'server1','bob','the guide’s example, as agreed',0,'{\"server1_address\": \"10.0.0.1\", \"server2_address\": \"10.0.0.2\", \"enabled\": true, \"vip_address\": \"\", \"balancer_kind\": \"external\", \"vip_test\": false, \"vip_urls\": false, \"application_error\": false, \"failback\": false, \"failback_stable_s\": 0.0, \"failback_hours\": \"\", \"timeout_s\": 10.0, \"interval_s\": 30.0, \"threshold\": 3, \"suspect_interval_s\": 0.0, \"portal_restart_s\": 60.0, \"release_delay_s\": 60.0, \"service_stop_s\": 5.0, \"cti_connect_s\": 3.0, \"cti_ports\": 0, \"cti_devices\": 0, \"lan_references\": [\"10.0.0.254\", \"tcp:10.0.0.9:80\"], \"witness\": \"\", \"rtt_ms\": 1000, \"agent_port\": 2011, \"flap_budget\": 3, \"flap_window_s\": 3600.0, \"daily_restart\": \"\"}');
CREATE TABLE `ft_settings_both` (
  `revision` int(11) NOT NULL,
  `since_wall_s` float NOT NULL,
  `server` varchar(20) NOT NULL,
  PRIMARY KEY (`revision`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;
INSERT INTO ft_settings_both VALUES (1,1760000000.0e0,'server2');
CREATE TABLE `ft_switch` (
  `id` int(11) NOT NULL AUTO_INCREMENT,
  `switch_id` varchar(64) NOT NULL,
  `kind` varchar(20) NOT NULL,
  `rule` varchar(20) NOT NULL,
  `reason` text NOT NULL,
  `epoch` bigint(20) NOT NULL,
  `actor` varchar(200) NOT NULL,
  `started_wall_s` float NOT NULL,
  `ended_wall_s` float DEFAULT NULL,
  `outcome` varchar(20) NOT NULL,
  `role_after` varchar(20) NOT NULL,
  `detail` text NOT NULL,
  PRIMARY KEY (`id`),
  UNIQUE KEY `switch_id` (`switch_id`),
  KEY `ix_ft_switch_started_wall_s` (`started_wall_s`)
) ENGINE=InnoDB AUTO_INCREMENT=3 DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;
INSERT INTO ft_switch VALUES (1,'Ab1','promote','F1','active peer is dead',4,'',1760000000.0e0,1760000000.0e0,'done','active','');
INSERT INTO ft_switch VALUES (2,'aB2','demote','M1','switchover',7,'ann',1760000000.0e0,NULL,'','','');
CREATE TABLE `ft_switch_step` (
  `switch_id` varchar(64) NOT NULL,
  `step_index` int(11) NOT NULL,
  `step` varchar(100) NOT NULL,
  `outcome` varchar(20) NOT NULL,
  `duration_s` float NOT NULL,
  `detail` text NOT NULL,
  PRIMARY KEY (`switch_id`,`step_index`),
  CONSTRAINT `ft_switch_step_ibfk_1` FOREIGN KEY (`switch_id`) REFERENCES `ft_switch` (`switch_id`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;
INSERT INTO ft_switch_step VALUES ('Ab1',0,'fence','ok',0.412e0,'no answer');
INSERT INTO ft_switch_step VALUES ('Ab1',1,'service cti','ok',3.25e0,'');
CREATE TABLE `ft_node` (
  `id` int(11) NOT NULL,
  `epoch` bigint(20) NOT NULL,
  `role` varchar(20) NOT NULL,
  `role_epoch` bigint(20) NOT NULL,
  `boot_id` varchar(64) NOT NULL,
  `lease_epoch` bigint(20) NOT NULL,
  `lease_deadline_s` float NOT NULL,
  `manual_hold` tinyint(1) NOT NULL,
  PRIMARY KEY (`id`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;
INSERT INTO ft_node VALUES (1,7,'active',4,'0f0f-boot',4,123457.0e0,1);
CREATE TABLE `ft_standing` (
  `name` varchar(20) NOT NULL,
  `document` longtext CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL CHECK (json_valid(`document`)),
  PRIMARY KEY (`name`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;
INSERT INTO ft_standing VALUES ('pause','{\"owner\": \"ann\", \"reason\": \"Wartung \\u2013 Z\\u00fcrich\", \"until_s\": 99.5}');
INSERT INTO ft_standing VALUES ('tell-pause','{\"command\": \"pause\", \"revision\": 3, \"told\": false}');
CREATE TABLE `ft_event` (
  `id` int(11) NOT NULL AUTO_INCREMENT,
  `at_wall_s` float NOT NULL,
  `name` varchar(100) NOT NULL,
  `facts` longtext CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL CHECK (json_valid(`facts`)),
  PRIMARY KEY (`id`),
  KEY `ix_ft_event_name` (`name`),
  KEY `ix_ft_event_at_wall_s` (`at_wall_s`)
) ENGINE=InnoDB AUTO_INCREMENT=3 DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;
INSERT INTO ft_event VALUES (1,1760000000.0e0,'settings_conflict','{\"replaced\": {\"revision\": 1, \"values\": {\"threshold\": 6}}}');
INSERT INTO ft_event VALUES (2,1760000000.0e0,'lost_lease','{\"epoch\": 4, \"why\": \"\\u65e5\\u672c\"}');

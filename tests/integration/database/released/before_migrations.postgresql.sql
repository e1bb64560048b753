CREATE TABLE public.ft_event (
    id integer NOT NULL,
    at_wall_s double precision NOT NULL,
    name character varying(100) NOT NULL,
    facts json NOT NULL
);
CREATE SEQUENCE public.ft_event_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.ft_event_id_seq OWNED BY public.ft_event.id;
CREATE TABLE public.ft_node (
    id integer NOT NULL,
    epoch bigint NOT NULL,
    role character varying(20) NOT NULL,
    role_epoch bigint NOT NULL,
    boot_id character varying(64) NOT NULL,
    lease_epoch bigint NOT NULL,
    lease_deadline_s double precision NOT NULL,
    manual_hold boolean NOT NULL
);
CREATE TABLE public.ft_settings (
    revision integer NOT NULL,
    saved_wall_s double precision NOT NULL,
    origin character varying(100) NOT NULL,
    actor character varying(200) NOT NULL,
    override_reason text NOT NULL,
    acknowledged boolean NOT NULL,
    "values" json NOT NULL
);
CREATE TABLE public.ft_settings_both (
    revision integer NOT NULL,
    since_wall_s double precision NOT NULL,
    server character varying(20) NOT NULL
);
CREATE TABLE public.ft_standing (
    name character varying(20) NOT NULL,
    document json NOT NULL
);
CREATE TABLE public.ft_switch (
    id integer NOT NULL,
    switch_id character varying(64) NOT NULL,
    kind character varying(20) NOT NULL,
    rule character varying(20) NOT NULL,
    reason text NOT NULL,
    epoch bigint NOT NULL,
    actor character varying(200) NOT NULL,
    started_wall_s double precision NOT NULL,
    ended_wall_s double precision,
    outcome character varying(20) NOT NULL,
    role_after character varying(20) NOT NULL,
    detail text NOT NULL
);
CREATE SEQUENCE public.ft_switch_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.ft_switch_id_seq OWNED BY public.ft_switch.id;
CREATE TABLE public.ft_switch_step (
    switch_id character varying(64) NOT NULL,
    step_index integer NOT NULL,
    step character varying(100) NOT NULL,
    outcome character varying(20) NOT NULL,
    duration_s double precision NOT NULL,
    detail text NOT NULL
);
ALTER TABLE ONLY public.ft_event ALTER COLUMN id SET DEFAULT nextval('public.ft_event_id_seq'::regclass);
ALTER TABLE ONLY public.ft_switch ALTER COLUMN id SET DEFAULT nextval('public.ft_switch_id_seq'::regclass);
INSERT INTO public.ft_event VALUES (2, 1760000010.75, 'lost_lease', '{"epoch": 4, "why": "\u65e5\u672c"}');
INSERT INTO public.ft_event VALUES (1, 1760000100.125, 'settings_conflict', '{"replaced": {"revision": 1, "values": {"threshold": 6}}}');
INSERT INTO public.ft_node VALUES (1, 7, 'active', 4, '0f0f-boot', 4, 123456.789012, true);
INSERT INTO public.ft_settings VALUES (1, 1760000001.75, 'server1', 'Jürgen Müller', '', true, '{"server1_address": "10.0.0.1", "server2_address": "10.0.0.2", "enabled": true, "vip_address": "", "balancer_kind": "external", "vip_test": false, "vip_urls": false, "application_error": false, "failback": false, "failback_stable_s": 0.0, "failback_hours": "", "timeout_s": 10.0, "interval_s": 30.0, "threshold": 5, "suspect_interval_s": 0.0, "portal_restart_s": 60.0, "release_delay_s": 60.0, "service_stop_s": 5.0, "cti_connect_s": 3.0, "cti_ports": 0, "cti_devices": 0, "lan_references": [], "witness": "", "rtt_ms": 1000, "agent_port": 2011, "flap_budget": 3, "flap_window_s": 3600.0, "daily_restart": ""}');
INSERT INTO public.ft_settings VALUES (2, 1760000004.75, 'server1', 'bob', 'the guide’s example, as agreed', false, '{"server1_address": "10.0.0.1", "server2_address": "10.0.0.2", "enabled": true, "vip_address": "", "balancer_kind": "external", "vip_test": false, "vip_urls": false, "application_error": false, "failback": false, "failback_stable_s": 0.0, "failback_hours": "", "timeout_s": 10.0, "interval_s": 30.0, "threshold": 3, "suspect_interval_s": 0.0, "portal_restart_s": 60.0, "release_delay_s": 60.0, "service_stop_s": 5.0, "cti_connect_s": 3.0, "cti_ports": 0, "cti_devices": 0, "lan_references": ["10.0.0.254", "tcp:10.0.0.9:80"], "witness": "", "rtt_ms": 1000, "agent_port": 2011, "flap_budget": 3, "flap_window_s": 3600.0, "daily_restart": ""}');
INSERT INTO public.ft_settings_both VALUES (1, 1760000003.25, 'server2');
INSERT INTO public.ft_standing VALUES ('pause', '{"owner": "ann", "reason": "Wartung \u2013 Z\u00fcrich", "until_s": 99.5}');
INSERT INTO public.ft_standing VALUES ('tell-pause', '{"command": "pause", "revision": 3, "told": false}');
INSERT INTO public.ft_switch VALUES (1, 'Ab1', 'promote', 'F1', 'active peer is dead', 4, '', 1760000006.25, 1760000007.75, 'done', 'active', '');
INSERT INTO public.ft_switch VALUES (2, 'aB2', 'demote', 'M1', 'switchover', 7, 'ann', 1760000009.25, NULL, '', '', '');
INSERT INTO public.ft_switch_step VALUES ('Ab1', 0, 'fence', 'ok', 0.412, 'no answer');
INSERT INTO public.ft_switch_step VALUES ('Ab1', 1, 'service cti', 'ok', 3.25, '');
SELECT pg_catalog.setval('public.ft_event_id_seq', 2, true);
SELECT pg_catalog.setval('public.ft_switch_id_seq', 2, true);
ALTER TABLE ONLY public.ft_event
    ADD CONSTRAINT ft_event_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.ft_node
    ADD CONSTRAINT ft_node_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.ft_settings_both
    ADD CONSTRAINT ft_settings_both_pkey PRIMARY KEY (revision);
ALTER TABLE ONLY public.ft_settings
    ADD CONSTRAINT ft_settings_pkey PRIMARY KEY (revision);
ALTER TABLE ONLY public.ft_standing
    ADD CONSTRAINT ft_standing_pkey PRIMARY KEY (name);
ALTER TABLE ONLY public.ft_switch
    ADD CONSTRAINT ft_switch_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.ft_switch_step
    ADD CONSTRAINT ft_switch_step_pkey PRIMARY KEY (switch_id, step_index);
ALTER TABLE ONLY public.ft_switch
    ADD CONSTRAINT ft_switch_switch_id_key UNIQUE (switch_id);
CREATE INDEX ix_ft_event_at_wall_s ON public.ft_event USING btree (at_wall_s);
CREATE INDEX ix_ft_event_name ON public.ft_event USING btree (name);
CREATE INDEX ix_ft_switch_started_wall_s ON public.ft_switch USING btree (started_wall_s);
ALTER TABLE ONLY public.ft_switch_step
    ADD CONSTRAINT ft_switch_step_switch_id_fkey FOREIGN KEY (switch_id) REFERENCES public.ft_switch(switch_id);

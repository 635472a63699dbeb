DROP TABLE signatures;
DROP TABLE mailbox_senders;
DROP TABLE templates;

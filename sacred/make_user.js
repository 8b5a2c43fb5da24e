// The user that runs and Omniboard log in as: may read and write every database, and nothing else.
// The container runs this once, when its volume is new.
db.getSiblingDB('admin').createUser({
  user: 'es',
  pwd: process.env.ES_MONGO_PASSWORD,
  roles: ['readWriteAnyDatabase', 'dbAdminAnyDatabase'],
});
